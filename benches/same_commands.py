"""What `same.py` runs: stories, which are commands of `port` one after the other in one folder.

In that folder `samples` and `data` lead to the repository's `samples` and `tests/data`, `shared` to the reference data
where they are, and `made` to checkpoints that are made here, once.
"""

import hashlib
import json
import re

import noise
from same_story import ANNOTATIONS, SAMPLE, Command, Story, both_forms, listed
from same_wrong_inputs import wrong_inputs

TARGETS = ["safetensors", "pth", "pkl", "npz"]
CHECKPOINTS = {".pth", ".pt", ".pt2", ".ckpt", ".pkl", ".safetensors", ".npz", ".npy", ".onnx", ".pdparams"}


# Help texts.


def subcommands(help_text):
    _, _, rest = help_text.partition("Commands:\n")
    return [name for name in re.findall(r"^  ([a-z]+)", rest.partition("\n\n")[0], re.MULTILINE) if name != "help"]


def help_texts(path=()):
    path = list(path)
    old, new = yield Command([*path, "--help"])
    for arguments in [[*path, "-h"], ["help", *path], path, [*path, "--no-such-option"]]:
        yield Command(arguments)
    for name in dict.fromkeys(subcommands(old.stdout) + subcommands(new.stdout)):
        yield from help_texts([*path, name])


def helps(_places):
    yield Story("help", help_texts)
    yield listed("help", ["--version", "-V", "no-such-command", "help no-such-command", "convert", "data convert"])


# What the documents show.


def documented(text):
    """The commands in blocks marked `console`; tests/cli/readme.rs finds them the same way."""
    inside = False
    for line in text.splitlines():
        if line.startswith("```"):
            inside = line == "```console"
        for program in ("$ port ", "$ cargo run --release -- "):
            if inside and line.startswith(program):
                yield line.removeprefix(program)


def documents(places):
    for document in [places.repository / "README.md", *sorted((places.repository / "docs").glob("*.md"))]:
        commands = list(documented(document.read_text(encoding="utf-8")))
        if commands:
            yield listed("documents", commands, copies={"samples": places.repository / "samples"})


# Checkpoints: inspect, convert.


def checkpoint_files(places):
    """Names of files, and of folders where folders are checkpoints, each content of a format's corpus once."""
    roots = [places.repository / "tests/data", places.repository / "samples"]
    if places.reference("reference"):
        roots += [places.shared / "reference", places.shared / "cases"]
    links, seen = {str(target): link for link, target in places.links().items()}, set()
    for root in roots:
        for path in sorted(root.rglob("*")):
            if not is_checkpoint(path.relative_to(root), path):
                continue
            if path.is_file() and "formats" in path.parts:
                key = (path.name, path.parent.name, hashlib.sha256(path.read_bytes()).hexdigest())
                if key in seen:
                    continue
                seen.add(key)
            base = next(base for base in links if path.is_relative_to(base))
            yield f"{links[base]}/{path.relative_to(base)}"


def is_checkpoint(name, path):
    if name.parts[0] in {"eval", "data", "data2"} or path.name in {"expected.json", "README.md"}:
        return False
    corpus = {"formats", "fuzz", "checkpoints", "checkpoints2", "discovery"} & set(path.parts)
    return (bool(corpus) and len(name.parts) > 1) or (path.is_file() and path.suffix in CHECKPOINTS)


def converted(name):
    yield Command(["inspect", name])
    yield Command(["inspect", name, "--stats", "--hash", "--json"])
    for target in TARGETS:
        ran = yield Command(["convert", name, "--to", target, "-o", f"plain.{target}"])
    known = yield Command(["convert", name, "--to", "safetensors", "--model", "auto", "-o", "known.safetensors"])
    if any(one.code == 0 for one in ran):
        yield Command(["convert", name, "--to", "safetensors", "--dtype", "f16", "-o", "half.safetensors", "--json"])
    if any(one.code == 0 for one in known):
        yield from converted_as_known(name)


def converted_as_known(name):
    for target in TARGETS[1:]:
        yield Command(["convert", name, "--to", target, "--model", "auto", "-o", f"known.{target}"])
    yield Command(["convert", name, "--to", "pth", "--model", "auto", "--json", "-o", "again.pth"])
    for weights in ("model", "ema", "avg"):
        yield Command(["convert", name, "--to", "pth", "--model", "auto", "--weights", weights, "-o", f"{weights}.pth"])


def checkpoints(places):
    for name in checkpoint_files(places):
        yield Story("checkpoints", lambda name=name: converted(name))


# Networks and tables.


def networks(places):
    def every_network():
        ran = yield Command(["models"])
        for name in dict.fromkeys(re.findall(r"^([a-z]+-[a-z0-9.-]+) ", ran[0].stdout + ran[1].stdout, re.MULTILINE)):
            for more in ([], ["--json"], ["--input", "320x256", "--classes", "7"], ["--input", "100"]):
                yield Command(["models", name, *more])

    def every_table():
        tables = yield Command(["mapping", "list"])
        for name in dict.fromkeys(re.findall(r"^(\S+/\S+) ", tables[0].stdout + tables[1].stdout, re.MULTILINE)):
            for more in ([], ["--json"]):
                yield Command(["mapping", "show", name, *more])
                yield Command(["mapping", "check", name, *more])

    yield Story("networks", every_network)
    yield Story("networks", every_table)
    plain = ["models --json", "models nanodet", "mapping show no/such"]
    yield listed("networks", [*both_forms("mapping list"), *both_forms("mapping check"), *plain])
    table = (places.repository / "mappings/nanodet-plus/jittor.toml").read_bytes()
    wrong = {
        "empty.toml": b"", "cut.toml": table[: len(table) // 2], "syntax.toml": table + b"\n[[rule]\n",
        "key.toml": table + b'\nsurprise = 1\n', "family.toml": table.replace(b'"nanodet-plus"', b'"no-such"'),
        "rule.toml": table.replace(b"{rest..}", b"{rest"), "less.toml": table.replace(b"|aux_fpn", b""),
    }
    commands = [form for name in wrong for form in both_forms(f"mapping check {name}")]
    commands += [f"mapping show {name}" for name in wrong]
    commands += [f"convert {SAMPLE} --to pth --model auto --mapping {name} -o out.pth" for name in wrong]
    yield listed("networks", commands, files=wrong)


# Networks that run: verify, detect.


PHOTOGRAPH = "shared/reference/nanodet-plus/detect/000000000036.jpg"
COCO_WEIGHTS = "nanodet-plus/weights/nanodet-plus-m_416_coco.pth"
TINY = ["gold-yolo/weights/gold_yolo-tiny_training.pt", "gfocal-v2/weights/gfocal-tiny.pth"]
RECORDED = {
    COCO_WEIGHTS: "nanodet-plus/nanodet-plus-m/activations_real.safetensors",
    TINY[0]: "gold-yolo/tiny/activations.safetensors",
    TINY[1]: "gfocal-v2/gfocal_tiny/activations.safetensors",
}
# Where a family's listing is, and its recording for a small input.
LISTINGS = {
    "nanodet-plus/nanodet-plus-m": "activations",
    "nanodet-plus/nanodet-plus-m-1.5x": "activations",
    "gold-yolo/n": "activations",
    "gold-yolo/s": "activations",
    "gold-yolo/tiny": "activations",
    "gold-yolo/n-fuse_ab": "activations",
    "gold-yolo/n-conv_silu-voc": "activations",
    "gold-yolo/n-distill_ns": "activations",
    "gfocal-v2/gfocal_tiny": "activations_64x96",
    "gfocal-v2/gfocal_r50_fpn": "activations_64x96",
    "gfocal-v2/gfl_r50_fpn": "activations",
    "gfocal-v2/gfocal_r2n101_dcn_fpn": "activations",
}


def verifying(places):
    others = [f"convert {SAMPLE} --to pkl -o a.pkl"]
    others += [f"convert {SAMPLE} --to safetensors --dtype f16 -o half.safetensors"]
    against = [f"verify {SAMPLE} {other} --image-size 64x96" for other in ("a.pkl", "half.safetensors", SAMPLE)]
    against += [f"verify {SAMPLE} a.pkl --image samples/shapes/000001.jpg --image-size 192 --all"]
    yield listed("verify", others + [form for one in against for form in both_forms(one)])
    alone = f"verify {SAMPLE} --image-size 64"
    yield listed("verify", [*both_forms(alone), f"{alone} --all"])
    if places.reference("reference"):
        for weights, recording in RECORDED.items():
            command = f"verify shared/reference/{weights} shared/reference/{recording}"
            yield listed("verify", [*both_forms(command), f"{command} --all", f"{command} --image {PHOTOGRAPH}"])


def with_noise(places):
    """Every family, its listing filled with noise: recognised, converted, compared with its recording, run."""
    reference = places.reference("reference")
    for listing, recording in LISTINGS.items() if reference else []:
        name = listing.replace("/", "-") + ".safetensors"
        noise.write(places.made / name, noise.listed(reference / listing / "state_dict.json"))
        verify = f"verify made/{name} shared/reference/{listing}/{recording}.safetensors"
        detect = f"detect samples/shapes/000001.jpg --weights made/{name} --image-size 128 --score-threshold 0.01"
        commands = [f"verify made/{name} --image-size 64", f"{verify} --all", f"{verify} --json", *both_forms(detect)]
        commands += [f"convert made/{name} --to {target} --model auto -o out.{target}" for target in ("pth", "pkl")]
        commands += [f"verify made/{name} out.pkl --image-size 64 --json"]
        yield listed("noise", commands)


def detecting(places):
    detect = f"detect samples/shapes --weights {SAMPLE} --image-size 192 --names {ANNOTATIONS}"
    saved = f"{detect} --save drawn --coco results.json"
    yield listed("detect", [*both_forms(detect), saved, f"{detect} --threads 1 --json"])
    one = f"detect samples/shapes/000003.jpg --weights {SAMPLE} --json"
    more = ["--image-size 320x256", "--max-detections 3", "--nms-iou 0.2", "--score-threshold 0.3"]
    yield listed("detect", [one, *[f"{one} {options}" for options in more]])
    if places.reference("reference"):
        coco = f"--weights shared/reference/{COCO_WEIGHTS}"
        commands = both_forms(f"detect shared/reference/nanodet-plus/detect {coco}")
        commands += [f"detect samples/shapes --weights shared/reference/{one} --image-size 128 --json" for one in TINY]
        yield listed("detect", [*commands, f"detect shared/data/coco8/images/val {coco} --save drawn"])


# Evaluation.


def evaluating(places):
    roots = {"data/eval": places.repository / "tests/data/eval"}
    if reference := places.reference("reference/eval"):
        roots["shared/reference/eval"] = reference
    for link, root in roots.items():
        for case in sorted((root / "coco").glob("*/dt.json")):
            yield evaluated_by_coco(f"{link}/coco/{case.parent.name}")
        for case in sorted((root / "voc").glob("*/dt.json")):
            yield evaluated_by_voc(case.parent)
    if reference:
        mixed = "shared/reference/eval/voc/mixed"
        folders = f"eval voc --annotations {mixed}/Annotations --results {mixed}/results"
        yield listed("eval", [*both_forms(folders), f"{folders} --image-set {mixed}/test.txt --json"])
    coco = f"eval coco --annotations {ANNOTATIONS} --weights {SAMPLE} --images samples/shapes --image-size 192"
    batches = [f"{coco} --batch {batch} --json" for batch in (1, 5)]
    yield listed("eval", [*both_forms(coco), f"{coco} --results-out results.json", *batches])
    voc = coco.replace("eval coco", "eval voc")
    yield listed("eval", [*both_forms(voc), f"{voc} --metric 07"])


def evaluated_by_coco(case):
    given = f"eval coco --annotations {case}/gt.json --results {case}/dt.json"
    saved = Command(f"{given} --json".split(), save="result.json")
    more = ["--strict-pycocotools", "--class-agnostic", "--max-dets 1,5,300", "--limit 2", "--category-ids 1"]
    commands = [given, saved, *[f"{given} {one} --json" for one in more]]
    return listed("eval", [*commands, f"{given} --curves curves.json", *both_forms("eval coco --replay result.json")])


def evaluated_by_voc(case):
    """The case in COCO's form and as files of the development kit, whose corners are pixels from 1."""
    objects, detections = (json.loads((case / f"{side}.json").read_text(encoding="utf-8")) for side in ("gt", "dt"))
    files = {**as_coco(objects, detections), **as_development_kit(objects, detections)}
    commands = []
    for given in ("--annotations gt.json --results dt.json", "--annotations Annotations --results results"):
        more = ["--metric 07", "--strict-iou", "--no-plus-one", "--iou 0.7"]
        commands += [f"eval voc {given}", *[f"eval voc {given} {one} --json" for one in more]]
        commands += [Command(f"eval voc {given} --json".split(), save="result.json"), "eval voc --replay result.json"]
    return listed("eval", commands, files=files)


def as_coco(objects, detections):
    classes = sorted({one["class"] for one in [*detections, *(one for image in objects.values() for one in image)]})
    numbers, images = {name: at for at, name in enumerate(classes, 1)}, {name: at for at, name in enumerate(objects, 1)}

    def entry(one, image, **more):
        left, top, right, bottom = one["bbox"]
        box = [left - 1, top - 1, right - left + 1, bottom - top + 1]
        return {"image_id": images.get(image, 0), "category_id": numbers[one["class"]], "bbox": box, **more}

    annotated = [(image, one) for image, all_of_it in objects.items() for one in all_of_it]
    annotations = [entry(one, image, id=at, difficult=one["difficult"]) for at, (image, one) in enumerate(annotated, 1)]
    document = {
        "images": [{"id": at, "file_name": f"{name}.jpg", "width": 999, "height": 999} for name, at in images.items()],
        "annotations": annotations,
        "categories": [{"id": at, "name": name} for name, at in numbers.items()],
    }
    results = [entry(one, one["image"], score=one["score"]) for one in detections]
    return {"gt.json": json.dumps(document).encode(), "dt.json": json.dumps(results).encode()}


def as_development_kit(objects, detections):
    def xml(one):
        corners = zip(("xmin", "ymin", "xmax", "ymax"), one["bbox"])
        box = "".join(f"<{name}>{value}</{name}>" for name, value in corners)
        difficult = f"<difficult>{one['difficult']}</difficult>"
        return f"<object><name>{one['class']}</name>{difficult}<bndbox>{box}</bndbox></object>"

    files, lines = {}, {}
    for image, all_of_it in objects.items():
        size = "<size><width>999</width><height>999</height><depth>3</depth></size>"
        text = f"<annotation>{size}{''.join(map(xml, all_of_it))}</annotation>"
        files[f"Annotations/{image}.xml"] = text.encode()
    for one in detections:
        line = " ".join(map(str, [one["image"], one["score"], *one["bbox"]]))
        lines.setdefault(one["class"], []).append(line + "\n")
    results = {f"results/comp4_det_test_{name}.txt": "".join(text).encode() for name, text in lines.items()}
    return {**files, **(results or {"results/comp4_det_test_none.txt": b""})}


# Data sets.


def data_sets(places):
    """Names of data sets, and commands that the reference data ask for."""
    yield ANNOTATIONS, None
    for series in ("data", "data2"):
        folder = places.reference(f"cases/{series}")
        if folder is None:
            continue
        cases = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
        for case in sorted(path.name for path in folder.iterdir() if path.is_dir()):
            told, name = cases.get(case, {}), f"shared/cases/{series}/{case}"
            ran = told.get("eval", {}).get("args")
            ran = [part.format(case=name, samples="shared/samples") for part in ran] if ran else None
            yield (f"{name}/{told['data']}" if "data" in told else name), ran
    for name in ("bccd", "bccd/test.json", "coco8") if places.reference("data") else ():
        yield f"shared/data/{name}", None


def data(places):
    for name, ran in data_sets(places):
        looks = [*both_forms(f"data stats {name}"), *both_forms(f"data check {name}"), f"data check {name} --strict"]
        writes = [f"data convert {name} --to {to}" for to in ("coco -o all.json", "voc -o voc", "yolo -o yolo")]
        writes += ["data check voc", "data check yolo", "data convert voc --to yolo -o again --copy-images"]
        writes += [f"data split {name} --ratio 6:2:2 --seed 3 -o parts"]
        yield listed("data", [*looks, *writes, *([Command(ran)] if ran else [])])


# Measuring: what is measured differs, all else does not.


def benching(_places):
    small = ["nanodet-plus-m --image-size 64x96", "gold-yolo-n --image-size 64", "gfocal-r50-fpn --image-size 64"]
    small += [f"{one} --train" for one in small]
    small += ["gfocal-r50-fpn --image-size 64 --until neck", f"{SAMPLE} --image-size 96"]
    for one in small:
        command = f"bench {one} --rounds 1 --threads 2"
        document = Command(f"{command} --json".split(), save="a.json", measures="json")
        table = Command(f"{command} --profile".split(), measures="table")
        compared = Command("bench --compare a.json a.json".split(), measures="table")
        yield listed("bench", [document, table, compared])


MAKERS = {
    "help": helps,
    "documents": documents,
    "networks": networks,
    "verify": verifying,
    "detect": detecting,
    "eval": evaluating,
    "data": data,
    "bench": benching,
    "wrong": wrong_inputs,
    "noise": with_noise,
    "checkpoints": checkpoints,
}
GROUPS = list(MAKERS)


def stories(places, groups):
    for group in GROUPS:
        if group in groups:
            yield from MAKERS[group](places)
