"""Carries out the shell blocks of a page, one after the other, in one directory of one world.

In: a page. Out: for each of its blocks what went wrong, if anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from support.snippets import outputs, scenes, shell
from support.snippets.blocks import Block, files
from support.snippets.scenes import Scene
from support.snippets.shell import SnippetError
from support.snippets.world import SUBSCRIPTIONS, World

SHELLS = ("console", "sh", "bash")
CHANGES = ("create ", "apply", "annotate", "patch", "scale", "delete", "ping", "replay", "rotate-key", "edit")


class Pages:
    """The pages of these blocks; each is carried out once, when it is first asked for."""

    def __init__(self, world: World, every: Sequence[Block]) -> None:
        self._world = world
        self._every = every
        self._done: dict[str, Mapping[int, SnippetError | None]] = {}

    def check(self, block: Block) -> None:
        """Raises SnippetError."""
        if block.page not in self._done:
            self._done[block.page] = self._carry_out(block.page)
        if error := self._done[block.page][block.line]:
            raise error

    def looked_at(self, page: str) -> list[str]:
        """What of a page was not run, each with the reason."""
        if page not in self._done:
            self._done[page] = self._carry_out(page)
        return shell.looked_at(self._world.ground, page)

    def _carry_out(self, page: str) -> Mapping[int, SnippetError | None]:
        every = [block for block in self._every if block.page == page]
        mine = [block for block in every if block.language in SHELLS and "not run" not in block.marks]
        given = {f"{name}.yaml": text for name, text in SUBSCRIPTIONS.items()} | files(every)
        room = self._world.ground.room(page, given)
        scene = scenes.PAGES.get(page, Scene())
        changes = page in scenes.PAGES or any(word in block.text for block in mine for word in CHANGES)
        changes = changes and page not in scenes.LAST
        before = self._world.names() if changes else set()
        try:
            scene.before(self._world, room)
            return {block.line: self._one(block, scene) for block in mine}
        finally:
            scene.after(self._world, room)
            if changes:
                self._world.tidy(before)

    def _one(self, block: Block, page: Scene) -> SnippetError | None:
        scene = scenes.of(block)
        room = self._world.ground.room(block.page, {})
        try:
            scene.before(self._world, room)
        except AssertionError as error:
            return SnippetError(f"{block.place}: what the page takes for granted did not come about: {error}")
        typed = replace(block, text=scenes.replaced(block.text, block.page, self._world))
        try:
            said = shell.run(typed, self._world.ground, {}, room=block.page, code=scene.code, env=page.env)
            outputs.compare(typed, said)
        except SnippetError as error:
            return error
        finally:
            scene.after(self._world, room)
        return None
