"""What people prefer: a study is shown, its answers are kept, and scores come of them.

    build.py     makes a study from a run of eval or from folders      python -m eval study build
    study.py     what is shown: the manifest, trials, sides
    schedule.py  what to ask next
    store.py     what was answered: SQLite or PostgreSQL (tables and migrations: schema.py)
    survey.py    a study with its answers: every call that a page makes
    mirror.py    on a Space: the votes in a private dataset
    votes.py     votes.jsonl, and votes as arrays                      python -m eval study export | import
    exports.py   other formats: csv, choix, sureal
    scoring.py   what it means: scores.json                            python -m eval study score
                 (bradley_terry.py: strengths; quality.py: who is left out; agreement.py: alpha, metrics with people)

The paper (Yang et al., CVPR 2021) asked volunteers to rate restorations of 1,000 real faces. This adds what such figures
need to be trusted: gold trials, repeats, intervals over raters, agreement, correction for many tests.
"""
