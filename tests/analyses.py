"""An analysis made by hand."""

from __future__ import annotations

from outlive.retention.graph import OLD, ROOT, Graph, Vertex
from outlive.retention.structures import Analysis, analyse


def by_hand() -> Analysis:
    """A ring of exception, frame and request, and an order that a global list keeps; 11 times each."""
    ring = (
        Vertex(kind="exception", type="app.NotFound", bytes=80),
        Vertex(kind="frame", type="frame", name="app.dispatch", place="app/main.py:17", bytes=400),
        Vertex(kind="instance", type="app.Request", bytes=48),
        Vertex(kind="instance", type='app.Headers<"a">', bytes=1000),
    )
    order = Vertex(kind="instance", type="app.Order", bytes=48, flags=1)
    module = Vertex(kind="module", type="module", name="app", flags=OLD | ROOT)
    orders = Vertex(kind="container", type="list", flags=OLD)
    edges: list[tuple[int, int, str]] = [(0, 1, "global:orders")]
    vertices = [module, orders]
    for _ in range(11):
        a = len(vertices)
        vertices += [*ring, order]
        edges += [
            (a, a + 1, "attribute:__traceback__"),
            (a + 1, a + 2, "local:request"),
            (a + 2, a, "attribute:error"),
            (a + 2, a + 3, "attribute:headers"),
            (1, a + 4, f"index:{a}"),
        ]
    return analyse(Graph("3.11.7", 11, tuple(vertices), tuple(edges)))
