"""Limits that keep a public page usable for all its visitors: identity, admission, bodies, queue, work, files, memory."""
