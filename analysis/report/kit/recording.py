"""One drawing of a figure for all its formats: what its artists draw is recorded, and played to each renderer.

Finding the places of ticks and texts takes matplotlib longer than writing them, and savefig does it for each format.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.backend_bases import FigureCanvasBase, GraphicsContextBase, RendererBase
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D, TransformedBbox, TransformedPath

#: Draws one recorded part.
Part = Callable[["Player"], None]


class RecordingCanvas(FigureCanvasBase):
    """A canvas whose renderer keeps what is drawn; texts are measured once, in the layout and in the drawing."""

    def __init__(self, figure: Figure) -> None:
        super().__init__(figure)
        self._renderer = Recorder(figure)

    def get_renderer(self) -> Recorder:
        return self._renderer


class Recorder(RendererBase):
    """Keeps paths, markers, collections and texts in the order in which they were drawn, in pixels of `figure`.

    An image is an error of matplotlib's (NotImplementedError): no figure of a report has one.
    """

    def __init__(self, figure: Figure) -> None:
        super().__init__()
        self.dpi = float(figure.dpi)
        self.size = (float(figure.bbox.width), float(figure.bbox.height))
        self.parts: list[Part] = []

    def get_canvas_width_height(self) -> tuple[float, float]:
        return self.size

    def flipy(self) -> bool:
        return False

    def points_to_pixels(self, points: Any) -> Any:
        return points * self.dpi / 72

    def open_group(self, s: str, gid: str | None = None) -> None:
        self.parts.append(lambda player: player.to.open_group(s, gid))

    def close_group(self, s: str) -> None:
        self.parts.append(lambda player: player.to.close_group(s))

    def draw_path(self, gc: Any, path: Any, transform: Any, rgbFace: Any = None) -> None:
        kept, placed = _copied(gc), transform.frozen()
        self.parts.append(
            lambda player: player.to.draw_path(player.context(kept), path, player.scaled(placed), rgbFace)
        )

    def draw_markers(
        self,
        gc: Any,
        marker_path: Any,
        marker_trans: Any,
        path: Any,
        trans: Any,
        rgbFace: Any = None,
    ) -> None:
        kept, shaped, placed = _copied(gc), marker_trans.frozen(), trans.frozen()
        self.parts.append(
            lambda player: player.to.draw_markers(
                player.context(kept), marker_path, player.scaled(shaped), path, player.scaled(placed), rgbFace
            )
        )

    def draw_path_collection(
        self,
        gc: Any,
        master_transform: Any,
        paths: Any,
        all_transforms: Any,
        offsets: Any,
        offset_trans: Any,
        *looks: Any,
        **more: Any,
    ) -> None:
        kept, shaped, placed = _copied(gc), master_transform.frozen(), offset_trans.frozen()
        self.parts.append(
            lambda player: player.to.draw_path_collection(
                player.context(kept),
                player.scaled(shaped),
                paths,
                all_transforms,
                offsets,
                player.scaled(placed),
                *looks,
                **more,
            )
        )

    def draw_text(
        self,
        gc: Any,
        x: float,
        y: float,
        s: str,
        prop: Any,
        angle: float,
        ismath: Any = False,
        mtext: Any = None,
    ) -> None:
        kept, height = _copied(gc), self.size[1]

        def play(player: Player) -> None:
            right, down = x * player.scale, (height - y if player.to.flipy() else y) * player.scale
            player.to.draw_text(player.context(kept), right, down, s, prop, angle, ismath=ismath, mtext=mtext)

        self.parts.append(play)


class RecordedFigure(Figure):
    """A figure that draws the recording of another: its savefig writes the other's formats."""

    def __init__(self, figure: Figure) -> None:
        super().__init__(figsize=tuple(figure.get_size_inches()), dpi=figure.dpi)
        canvas: Any = figure.canvas
        recorder: Recorder = canvas.get_renderer()
        figure.draw(recorder)
        self._parts, self._recorded_dpi = tuple(recorder.parts), recorder.dpi

    def draw(self, renderer: Any) -> None:
        """Play the recording in pixels of the resolution that savefig has set."""
        player = Player(renderer, float(self.dpi) / self._recorded_dpi)
        for play in self._parts:
            play(player)


class Player:
    """What the parts of a recording are drawn with: `to`, whose pixels are `scale` times those of the recording."""

    def __init__(self, to: Any, scale: float) -> None:
        self.to, self.scale = to, scale
        self._enlarge = Affine2D().scale(scale)
        # One object for what was one: a PDF begins anew where the object that cuts a drawing off is another.
        self._rectangles: dict[Any, TransformedBbox] = {}
        self._paths: dict[Any, TransformedPath] = {}

    def scaled(self, transform: Any) -> Any:
        return transform if self.scale == 1 else transform + self._enlarge

    def context(self, kept: GraphicsContextBase) -> Any:
        """A context of the renderer with the properties of `kept`; widths of lines are in points already."""
        gc = self.to.new_gc()
        gc.copy_properties(kept)
        if self.scale != 1:
            rectangle = kept.get_clip_rectangle()
            cut: Any = kept.get_clip_path()
            path, placed = cut
            if rectangle is not None:
                if id(rectangle) not in self._rectangles:
                    self._rectangles[id(rectangle)] = TransformedBbox(rectangle, self._enlarge)
                gc.set_clip_rectangle(self._rectangles[id(rectangle)])
            if path is not None:
                key = (id(path), placed.to_values())
                if key not in self._paths:
                    self._paths[key] = TransformedPath(path, self.scaled(placed))
                gc.set_clip_path(self._paths[key])
        return gc


def _copied(gc: Any) -> GraphicsContextBase:
    """Artists change a context after they have drawn with it."""
    kept = GraphicsContextBase()
    kept.copy_properties(gc)
    return kept
