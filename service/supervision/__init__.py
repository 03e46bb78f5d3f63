"""Processes: Gunicorn's hooks, the workers, the ops process, reloads.

    command         the service as a command, from any folder
    configuration   Gunicorn's settings, from ours                     logger, listener, tls, directory: what they need
    master          Gunicorn's hooks                                   preparation   the first generation, in a child
    arbiter         what stands in place of Gunicorn's own methods     child, orphans  processes of the master's own
    keeper          looks after the workers: exits, breaker, recycling, last_words
    worker, server  Uvicorn's worker and server, and their way out     accept, connection, response   its connections
    ops             probes, metrics, and:
    reload          the coordinator                                    successor   the next generation, in a process
    rollcall        who has staged it                                  watch       the repository, looked at

A worker's states are in `rows.py`, and every process sees them:

    STARTING   forked; loads what is committed, and what a reload is about to commit
    READY      answers; stages what a reload asks for, and changes over when it is committed
    DRAINING   was asked to leave; answers, and each answer is its connection's last
    STOPPED    answers nobody any more; ends
    FREE       the slot of nobody
"""
