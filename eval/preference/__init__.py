"""Preference study: build a study, collect votes, compute scores.

    build.py     creates a study from a run of eval or from folders       python -m eval study build
    study.py     the manifest, trials, order of the images
    schedule.py  selection of the next trial
    store.py     storage of the votes: SQLite or PostgreSQL (tables and migrations: schema.py)
    survey.py    a study with its store: the calls of the page
    mirror.py    backup of the votes in a private dataset, for a Space
    votes.py     votes.jsonl, and votes as arrays                         python -m eval study export | import
    exports.py   other formats: csv, choix
    scoring.py   scores.json                                              python -m eval study score
                 (bradley_terry.py: strengths; quality.py: exclusion of raters; agreement.py: alpha, metrics and raters)

The paper (Yang et al., CVPR 2021) asked volunteers to rate restorations of 1,000 real faces. This package adds gold trials,
repeats, intervals over raters, measures of agreement, and a correction for multiple tests.
"""
