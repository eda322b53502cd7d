"""Accounts: the list, a new one (also from the desk, for a household), and changing one."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, BaseModel, Field, Json
from starlette.responses import Response

from contracts.identity import Role
from identity import edge, labels, queries
from identity.commands import accounts
from identity.commands.accounts import Change, NewAccount
from identity.domain.accounts import LANGUAGES, OPAQUE, Kind, Standing, manageable_roles
from identity.domain.addresses import email_of
from identity.domain.passwords import LONGEST, acceptable_first, as_given, first_password
from identity.pages import again
from identity.queries import AccountShown
from runtime.refusals import Invalid
from web import Call, Form, Paged, Paging, allow, forms
from web.translations import NAMES

router = APIRouter(include_in_schema=False)

LIST = "/identity/accounts"

Keepers = Annotated[Call, Depends(allow(Role.ADMINISTRATOR, Role.COORDINATOR, Role.RECEPTION))]
Leads = Annotated[Call, Depends(allow(Role.ADMINISTRATOR, Role.COORDINATOR))]

Line = Annotated[str, Field(max_length=120)]
Link = Annotated[str, Field(max_length=64)]
Password = Annotated[str, Field(max_length=4 * LONGEST)]


class Find(BaseModel):
    """The form that looks for an address."""

    email: Annotated[str, Field(max_length=254)]


class AccountForm(BaseModel):
    """The form of an account."""

    email: Annotated[str, Field(max_length=254)]
    name: Line = ""
    roles: Annotated[list[Role], AfterValidator(sorted)] = []
    centre_id: Link = ""
    household_id: Link = ""
    organisation_id: Link = ""
    producer_id: Link = ""
    language: Annotated[str, Field(max_length=8)] = ""

    @property
    def standing(self) -> Standing:
        """What the account is to be allowed."""
        return Standing(
            frozenset(self.roles),
            self.centre_id,
            self.household_id,
            self.organisation_id,
            self.producer_id,
        )


class NewForm(AccountForm):
    """A new account needs a first password: the page proposes it, in a hidden field, so that the
    same form sent twice gives the same."""

    password: Password


class AccountSeen(AccountForm):
    """What the page showed of an account; it travels with the form."""

    disabled: bool = False

    @property
    def told(self) -> Change:
        """As the command compares it with what holds."""
        return Change(
            roles=frozenset(self.roles),
            centre_id=self.centre_id,
            household_id=self.household_id,
            organisation_id=self.organisation_id,
            producer_id=self.producer_id,
            disabled=self.disabled,
            email=self.email,
            name=self.name,
            language=self.language,
        )


class EditForm(AccountSeen):
    """An account that exists keeps its password unless a new first one is wanted."""

    password: Password = ""
    anew: bool = False
    seen: Json[AccountSeen]

    @property
    def matters(self) -> bool:
        """Whether it changes who signs in as whom, or what they may."""
        harmless = {"name": "", "language": ""}
        shown = self.seen.model_copy(update=harmless)
        typed = AccountSeen.model_validate(self.model_dump(include=set(AccountSeen.model_fields)))
        return self.anew or typed.model_copy(update=harmless) != shown


@router.get(LIST)
async def list_page(
    call: Keepers,
    paging: Paged,
    kind: Kind | None = None,
    household: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Accounts, the newest first."""
    return await _list(call, paging, call.blank(Find), kind=kind, household=household)


@router.post(f"{LIST}/find")
async def find(call: Keepers) -> Response:
    """Look for an address: by POST, so that none lies in a log or in the browser's history."""
    form = await call.form(Find)
    found: AccountShown | None = None
    if form.ok:
        asker = edge.asker(call)
        try:
            email = email_of(form.data.email)
            now = call.parts.clock.now()
            found = await call.query(lambda c: queries.account_by_email(c, asker, email, now))
        except Invalid as refusal:
            form.refuse(refusal)
    if found is not None:
        return call.redirect(f"{LIST}/{found.id}")
    return await _list(call, Paging(), form, looked=form.ok)


@router.get(f"{LIST}/new")
async def new_page(call: Keepers, household: Annotated[str, Query(max_length=64)] = "") -> Response:
    """The form of a new account; the desk names the household of a family."""
    household = household if OPAQUE.fullmatch(household) else ""
    given = manageable_roles(edge.asker(call))
    family = bool(household) or given == {Role.FAMILY}
    values = {
        "roles": [Role.FAMILY.value] if family else [],
        "household_id": household,
        "centre_id": call.centre,
        "password": first_password(),
    }
    return await _form_page(call, call.blank(NewForm, values), None)


@router.post(f"{LIST}/new")
async def create(call: Keepers) -> Response:
    """Make an account."""
    form = await call.form(NewForm)
    made = await form.attempt(_create(call, form.data)) if form.ok else None
    if made is None:
        return await _form_page(call, form, None)
    return _given(call, await edge.account(call, made), form.data.password, made=True)


@router.get(f"{LIST}/{{account_id}}")
async def edit_page(account_id: str, call: Keepers) -> Response:
    """An account and the form that changes it."""
    found = await edge.account(call, account_id)
    values = forms.showing(_seen(found)) | {"password": first_password()}
    form = call.blank(EditForm, values)
    return await _form_page(call, form, found)


@router.post(f"{LIST}/{{account_id}}")
async def change(account_id: str, call: Keepers) -> Response:
    """Change an account; a name or a language without the password again."""
    found = await edge.account(call, account_id)
    form = await call.form(EditForm)
    if form.ok and form.data.matters and (ask := await again.asked(call)):
        return ask
    if form.ok:
        await form.attempt(_change(call, found, form.data))
    if not form.ok:
        if "password" in form.errors:  # the box to tick for one
            form.values.setdefault("anew", "")
            form.errors["anew"] = form.errors.pop("password")
        found = await edge.account(call, account_id)
        forms.renew(form, _seen(found), accounts.changed_meanwhile())
        return await _form_page(call, form, found)
    if form.data.anew:
        return _given(call, await edge.account(call, account_id), form.data.password)
    return call.redirect(f"{LIST}/{account_id}?done=changed")


@router.post(f"{LIST}/{{account_id}}/sessions/end")
async def end_sessions(account_id: str, call: Leads) -> Response:
    """Sign somebody out everywhere."""
    if ask := await again.asked(call):
        return ask
    asker = edge.asker(call)
    await call.command(lambda tx: accounts.revoke_sessions(tx, asker, account_id))
    return call.redirect(f"{LIST}/{account_id}?done=signed-out")


async def _create(call: Call, typed: NewForm) -> str:
    email = email_of(typed.email)
    password = acceptable_first(typed.password, email=email, roles=typed.roles, names=[typed.name])
    wanted = NewAccount(
        email, await edge.HASHING.hash(password), typed.standing, typed.name, typed.language
    )
    asker = edge.asker(call)
    return await edge.once(
        call,
        lambda tx: accounts.create_account(tx, asker, wanted),
        content=typed.model_dump(exclude={"password"}),
        password=typed.password,
    )


async def _change(call: Call, found: AccountShown, typed: EditForm) -> None:
    email = email_of(typed.email)
    password_hash = None
    if typed.anew:
        password = acceptable_first(
            typed.password, email=email, roles=typed.roles, names=[typed.name]
        )
        password_hash = await edge.HASHING.hash(password)
    change = replace(typed.told, email=email, password_hash=password_hash)
    asker = edge.asker(call)
    await edge.once(
        call,
        lambda tx: accounts.change_account(tx, asker, found.id, change, seen=typed.seen.told),
        content=typed.model_dump(exclude={"password"}),
        password=typed.password if typed.anew else "",
    )


def _given(call: Call, found: AccountShown, password: str, *, made: bool = False) -> Response:
    """What staff read out or write down for the person, in answer to the form and never again."""
    return call.render(
        "given_password.html",
        found=found,
        password=as_given(password),
        made=made,
        list=LIST,
        path=f"{LIST}/{found.id}",
    )


def _seen(found: AccountShown) -> AccountSeen:
    return AccountSeen.model_validate(found.model_dump())


async def _list(
    call: Call,
    paging: Paging,
    form: Form[Find],
    *,
    kind: Kind | None = None,
    household: str = "",
    looked: bool = False,
) -> Response:
    asker, now = edge.asker(call), call.parts.clock.now()
    household = household if OPAQUE.fullmatch(household) else ""
    page = await call.query(
        lambda c: queries.accounts(c, asker, paging, now, kind=kind, household_id=household)
    )
    query = f"kind={kind}" if kind else f"household={household}" if household else ""
    return call.render(
        "accounts.html",
        form.status,
        page=page,
        form=form,
        looked=looked,
        kind=kind,
        household=household,
        kinds=labels.KINDS,
        roles=labels.ROLES,
        centres=dict(await call.query(queries.centre_names)),
        query=query,
        narrow=call.caller.has(Role.ADMINISTRATOR, Role.COORDINATOR),
        list=LIST,
        path=LIST,
    )


async def _form_page(
    call: Call, form: Form[NewForm] | Form[EditForm], found: AccountShown | None
) -> Response:
    asker = edge.asker(call)
    given = manageable_roles(asker)
    centres = await call.query(queries.centre_names)
    if asker.centre_id:
        centres = [one for one in centres if one[0] == asker.centre_id]
    done = call.request.query_params.get("done", "") if form.status == 200 else ""
    return call.render(
        "account_form.html",
        form.status,
        form=form,
        found=found,
        own=found is not None and found.id == call.caller.account_id,
        role_choices=[
            (r.value, call.say(label)) for r, label in labels.ROLES.items() if r in given
        ],
        centres=centres,
        foundation=not asker.centre_id,
        languages_offered=[(code, NAMES[code]) for code in LANGUAGES],
        ends=call.caller.has(Role.ADMINISTRATOR, Role.COORDINATOR),
        only_families=given == {Role.FAMILY},
        done=done,
        list=LIST,
        path=f"{LIST}/{found.id}" if found else f"{LIST}/new",
    )
