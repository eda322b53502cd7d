"""Backup and restore of a whole installation: every store of one moment in one file, and back.

`archive` is the file, `moment` how all stores are caught at once, `take` writes a backup.
`put_back` puts one back by `staging`, `finish` ends a restore once the services have recovered,
`aside` keeps the old stores for a while, `copies` is the second copy of the outboxes on another
disk. `server` has our own PostgreSQL run meanwhile.
"""
