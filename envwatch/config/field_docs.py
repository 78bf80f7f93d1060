"""What the settings mean, for the JSON schema and the file of `config init`: the docstrings below their fields.

pydantic's `use_attribute_docstrings` reads the same, but whenever a model is defined: 20 ms of every start with a file.
"""

from __future__ import annotations

import ast
import inspect
from itertools import pairwise
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Mapping


def field_docs(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the docstrings of a model's fields by name, the inherited ones among them.

    Raises:
        OSError: if the source is not there.
    """
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if cls is BaseModel or not issubclass(cls, BaseModel):
            continue
        (definition,) = ast.parse(inspect.getsource(cls)).body
        for statement, following in pairwise(ast.iter_child_nodes(definition)):
            match statement, following:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = inspect.cleandoc(text)
    return found
