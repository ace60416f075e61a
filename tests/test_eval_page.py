"""The pages: whole, alone, and safe whatever names they show."""

import base64
import re
from html.parser import HTMLParser
from math import nan
from pathlib import Path

import cv2
import numpy as np
import pytest
from evaluations import clip, errors, evaluation, frame, small

from recon.evaluation.measures import MEASURES, Evaluation
from recon.evaluation.page import FramePicture, write_comparison_page, write_page
from recon.evaluation.report import applying

EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'&{{ 7 * 7 }}"
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Elements with their attributes, texts by element; complains where tags do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> means nothing outside SVG"
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[str]:
        return [text for within, text in self.texts if within == tag]

    @property
    def text(self) -> str:
        return " ".join(text for within, text in self.texts if within != "style")


def picture(**names: str) -> FramePicture:
    rgb = np.full((48, 64, 3), (200, 30, 60), np.uint8)
    facts = {"clip": "walk_1", "caption": "the worst", **names}
    return FramePicture(facts["clip"], 1, facts["caption"], {"abs_rel": 0.5, "tae": nan}, rgb)


def page_of(
    tmp_path: Path, made: Evaluation, *pictures: FramePicture, seams: dict[str, frozenset[int]] | None = None
) -> str:
    write_page(made, pictures, tmp_path / "index.html", seams=seams)
    return (tmp_path / "index.html").read_text("utf-8")


def comparison_of(tmp_path: Path, *evaluations: Evaluation) -> str:
    write_comparison_page(evaluations, tmp_path / "comparison.html")
    return (tmp_path / "comparison.html").read_text("utf-8")


def evil() -> Evaluation:
    frames = [frame(0, abs_rel=0.1), frame(1, abs_rel=0.2)]
    facts = {"recon": EVIL, EVIL: {EVIL: EVIL}}
    return evaluation(clip(EVIL, frames), method=EVIL, dataset=EVIL, protocol=EVIL, provenance=facts)


# --- one evaluation ----------------------------------------------------------------------------------------------


def test_a_page_says_all_there_is_to_say(tmp_path: Path) -> None:
    made = small()
    page = Page(page_of(tmp_path, made, picture()))
    assert page.all("h1") == ["VDA *small* on kitti-110"]
    assert page.all("h2") == ["Clips", "Over time", "Frames to look at", "What made it", "What the numbers mean"]
    assert page.all("dd") == ["0.170", "0.715", "0.975", "0.275", "0.006", "0.00"]
    assert "without the defects of the released scripts" in page.text
    for measure in applying(each.values for each in made.clips):
        assert measure.meaning in page.text


def test_clips_and_their_mean_stand_in_a_table(tmp_path: Path) -> None:
    text = page_of(tmp_path, small())
    body, foot = (re.search(rf"<{part}>(.*?)</{part}>", text, re.DOTALL) for part in ("tbody", "tfoot"))
    rows = [re.sub(r"<.*?>", " ", row).split() for row in body.group(1).split("</tr>")[:-1]]  # type: ignore[union-attr]
    assert rows[0] == ["walk_1", "2", "0.090", "0.930", "0.700", "0.275", "0.012", "0.00"]
    assert rows[1][-7:] == ["1", "0.250", "0.500", "1.250", "-", "0.000", "-"]
    assert re.sub(r"<.*?>", " ", foot.group(1)).split()[:3] == ["mean", "0.170", "0.715"]  # type: ignore[union-attr]


def test_curves_are_drawn_where_there_are_two_values(tmp_path: Path) -> None:
    """Of the second clip, which has one frame, there is nothing to draw; of TAE, the first clip has one value."""
    page = Page(page_of(tmp_path, small()))
    assert [attributes["aria-label"] for tag, attributes in page.elements if tag == "svg"] == ["AbsRel", "delta1"]
    assert page.all("summary")[0].strip() == "walk_1"


def test_seams_are_drawn(tmp_path: Path) -> None:
    long = evaluation(errors("a", *(0.1,) * 50))
    plain, marked = (
        page_of(tmp_path, long),
        page_of(tmp_path, long, seams={"a": frozenset({22, 44}), "b": frozenset({1})}),
    )
    assert (plain.count("stroke-dasharray"), marked.count("stroke-dasharray")) == (0, 1)


def test_pictures_are_within_the_page(tmp_path: Path) -> None:
    page = Page(page_of(tmp_path, small(), picture(), picture(caption="another")))
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert [image["alt"] for image in images] == ["the worst", "another"]
    kind, data = str(images[0]["src"]).split(",")
    assert kind == "data:image/jpeg;base64"
    bgr = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert bgr.shape == (48, 64, 3)
    assert np.abs(bgr.astype(int) - (60, 30, 200)).max() < 8
    assert "AbsRel 0.500 · TAE -" in page.text


def test_an_evaluation_of_nothing_has_a_page(tmp_path: Path) -> None:
    page = Page(page_of(tmp_path, evaluation()))
    assert page.all("h2") == ["Clips", "What made it", "What the numbers mean"]


def test_what_made_it_is_told_in_full(tmp_path: Path) -> None:
    page = Page(page_of(tmp_path, small()))
    for name, value in [
        ("method.name", "vits"),
        ("method.weights", "-"),
        ("method.sizes", "[518, 924]"),
        ("rules.frames", "110"),
    ]:
        assert page.texts[page.texts.index(("th", name)) + 1] == ("td", value)


@pytest.mark.parametrize(("count", "unfolded"), [(3, 3), (4, 1)])
def test_of_many_clips_the_first_is_unfolded(tmp_path: Path, count: int, unfolded: int) -> None:
    page = Page(page_of(tmp_path, evaluation(*(errors(f"c{number}", 0.1, 0.2) for number in range(count)))))
    assert sum("open" in attributes for tag, attributes in page.elements if tag == "details") == unfolded


# --- several -----------------------------------------------------------------------------------------------------


def test_methods_stand_side_by_side(tmp_path: Path) -> None:
    one, two = (evaluation(errors("a", value, value), method=f"m{value}") for value in (0.1, 0.3))
    text = comparison_of(tmp_path, one, two)
    page = Page(text)
    assert re.findall(r'<td class="best">(.*?)</td>', text) == ["0.100"]
    assert page.all("li") == ["1 clip with 2 frames, the same for every method."]
    assert page.all("summary")[0].strip() == "a"
    assert MEASURES["abs_rel"].meaning in page.text
    (chart,) = (attributes for tag, attributes in page.elements if tag == "svg")
    assert chart["aria-label"] == "AbsRel"
    assert {"m0.1", "m0.3"} <= set(page.all("text"))


def test_a_method_keeps_its_colour_where_another_has_no_curve(tmp_path: Path) -> None:
    without = evaluation(clip("a", [frame(0, abs_rel=0.1), frame(1, abs_rel=0.1)]), method="one")
    with_tae = evaluation(clip("a", [frame(0, abs_rel=0.1, tae=1.0), frame(1, abs_rel=0.1, tae=2.0)]), method="two")
    tae = comparison_of(tmp_path, without, with_tae).split("<svg")[-1]
    assert re.search(r'class="c1" d="M[^"]+L', tae)
    assert not re.search(r'class="c0" d="M[^"]+L', tae)


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    page = Page(
        comparison_of(tmp_path, evaluation(errors("a", 0.1)), evaluation(errors("b", 0.1)), evaluation(dataset="bonn"))
    )
    assert page.all("li")[0] == "No frame is common to all methods: nothing can be compared."
    assert page.all("h2")[:2] == ["kitti-110, corrected", "bonn, corrected"]
    assert "not compared with each other" in page.text


# --- alone and safe ----------------------------------------------------------------------------------------------


def evil_pages(tmp_path: Path) -> list[str]:
    return [
        page_of(tmp_path, evil(), picture(clip=EVIL, caption=EVIL)),
        comparison_of(tmp_path, evil(), evil(), small()),
    ]


def test_names_are_only_shown(tmp_path: Path) -> None:
    for text in evil_pages(tmp_path):
        page = Page(text)
        assert "script" not in {tag for tag, _ in page.elements}
        assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
        assert all(str(attributes["src"]).startswith("data:") for tag, attributes in page.elements if tag == "img")
        assert page.text.count(EVIL) >= 4


def test_a_page_needs_no_network_and_no_script(tmp_path: Path) -> None:
    allowed = {
        "charset",
        "name",
        "content",
        "http-equiv",
        "lang",
        "class",
        "scope",
        "open",
        "src",
        "width",
        "height",
        "alt",
    }
    allowed |= {"viewbox", "role", "aria-label", "x", "y", "d", "fill", "stroke", "stroke-width", "stroke-linejoin"}
    allowed |= {"stroke-linecap", "stroke-dasharray", "opacity", "text-anchor", "font-weight"}
    for text in (page_of(tmp_path, small(), picture()), comparison_of(tmp_path, small(), small())):
        page = Page(text)
        assert not {tag for tag, _ in page.elements} & {
            "script",
            "link",
            "iframe",
            "object",
            "embed",
            "base",
            "form",
            "a",
            "use",
        }
        assert {name for _, attributes in page.elements for name in attributes} <= allowed
        assert "http:" not in text
        assert "https:" not in text
        assert "url(" not in text
        assert "@import" not in text
        (policy,) = (attributes["content"] for _, attributes in page.elements if "http-equiv" in attributes)
        assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_an_earlier_page_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    before = page_of(tmp_path, small())
    broken = FramePicture("a", 0, "b", {}, np.zeros((0, 4, 3), np.uint8))
    with pytest.raises(Exception, match=r"empty|JPEG"):
        page_of(tmp_path, small(), broken)
    assert (tmp_path / "index.html").read_text("utf-8") == before
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
