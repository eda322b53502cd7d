"""Who may look at the machine, and who may touch it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from web.auth import allow
from web.call import Call
from web.roles import LEADS, Role
from web.set_aside import READ, WRITE

Reader = Annotated[Call, Depends(allow(*LEADS, scope=READ))]
Lead = Annotated[Call, Depends(allow(*LEADS, scope=WRITE))]
Administrator = Annotated[Call, Depends(allow(Role.ADMINISTRATOR, scope=WRITE))]
