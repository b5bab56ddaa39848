"""Preference study: build a study, collect votes, compute scores.

    build.py      creates a study from a run of eval or from folders       python -m eval study build
    golds.py      gold and training trials: kinds of damage, power
    study.py      the manifest, trials, order of the images
    plan.py       the planned end of a study
    sample.py     the sample study in assets/
    schedule.py   selection of the next trial
    survey.py     a study with its store: the calls of the page
    tickets.py    signed tickets of trials, names of images, order of images: what raters must not compute or forge
    sessions.py   trials given out, sessions by network, cached reads, in memory
    mirror/       copy of the events in a private dataset (hub.py) or a mounted folder (mounted.py), for a Space
    exports.py    other formats: csv, choix, battles for arena-rank; scores as a table
    arena/        the live arena: a study whose items visitors make
    storage/      votes.jsonl (votes.py); SQLite or PostgreSQL (store.py, raters.py, database.py, engines.py, schema.py,
                  writer.py), and which of them (location.py); events.py; refusals.py; images.py; items.py: names of items that
                  are made on demand
    analysis/     scores.json (scoring.py): Davidson's model (bradley_terry.py), differences and tests (strengths.py), strengths
                  by degradation (slices.py), mean opinions (opinions.py), intervals (bootstrap.py), exclusion of raters
                  (quality.py), unusual patterns (anomalies.py), agreement between raters and with metrics (agreement.py)
                                                                           python -m eval study score
    cli.py        the commands                                             python -m eval study --help

The paper (Yang et al., CVPR 2021) asked volunteers to rate restorations of 1,000 real faces. This package adds gold trials,
repeats, intervals over raters and faces, measures of agreement, and a correction for multiple tests.
"""
