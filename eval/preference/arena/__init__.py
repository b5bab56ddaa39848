"""Live arena: comparisons of faces that visitors degrade themselves.

battles.py   the draw of a pair, its ticket, the answer and what it reveals
"""
