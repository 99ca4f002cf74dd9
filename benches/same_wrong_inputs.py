"""Commands of `same.py` with inputs and options that are wrong."""

from same_story import ANNOTATIONS, Command, both_forms, listed

# In a folder with `cut_files`. SIZED takes any size of the input, EVAL pictures and annotations.
USAGE = """
DETECT --score-threshold 7
DETECT --nms-iou 2
DETECT --max-detections 0
DETECT --threads 0
DETECT --threads 100000
DETECT --names a,b
DETECT --save .
DETECT --coco own.pth
DETECT --coco one.jpg
DETECT --model gold-yolo-n
bench nanodet
bench nanodet-plus-m --batch 0
bench nanodet-plus-m --rounds 0
bench nanodet-plus-m --until nack
convert own.pth --to gguf
convert own.pth --to pth
convert own.pth --to pth -o own.pth
convert own.pth --to pth -o ./own.pth
convert own.pth --to pth -o folder/../own.pth
convert own.pth --to npz -o folder
convert own.pth --to npz -o absent/out.npz
convert own.pth --to pkl --root no.such
convert own.pth --to pkl --dtype bf16 -o out.pkl --json
convert own.pth --to pkl --model gold-yolo-n -o out.pkl
convert own.pth --to pkl --model gfocal-v2 -o out.pkl
convert own.pth --to pkl --model nanodet -o out.pkl
convert own.pth --to pkl --model none -o out.pkl
convert own.pth --to pkl --model auto --weights no-such -o out.pkl
convert own.pth --to pkl --rename a
inspect own.pth --filter (
inspect own.pth --filter head.*bias --hash
verify own.pth one.jpg
data split no.json --ratio 0:1 -o parts
data split ANNOTATIONS --ratio 1 -o parts
data split ANNOTATIONS --ratio 0:0 -o parts
data split ANNOTATIONS --ratio a:b -o parts
data split ANNOTATIONS --ratio 1:1:1:1 -o parts
eval coco --annotations ANNOTATIONS
EVAL --image-size 100
EVAL --names a,b
EVAL --batch 0
EVAL --limit 0
EVAL --image-ids 9999
EVAL --results no.json
"""
SIZED = ["DETECT", "verify own.pth", "bench nanodet-plus-m", "EVAL"]
SIZES = ["100", "wide", "0", "65536", "64x"]
SHORT = {
    "DETECT": "detect one.jpg --weights own.pth",
    "EVAL": "eval coco --annotations ANNOTATIONS --weights own.pth --images samples/shapes",
    "ANNOTATIONS": ANNOTATIONS,
}
FAMILIES = {
    "nanodet-plus": "nanodet-plus/weights/tiny_lightning.ckpt",
    "gold-yolo": "gold-yolo/weights/gold_yolo-tiny_training.pt",
    "gfocal-v2": "gfocal-v2/weights/gfocal-tiny.pth",
}


def cut_files(places):
    """The sample cut and changed, and texts and pictures under other names."""
    whole, picture = places.sample("nanodet-plus-shapes.pth"), places.sample("shapes/000001.jpg")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    return {
        **{f"cut-{share}.pth": whole[: len(whole) * share // 100] for share in (1, 10, 50, 90, 99)},
        "flipped.pth": bytes(flipped),
        "own.pth": whole,
        "text.pth": b"no checkpoint",
        "empty.pth": b"",
        "one.jpg": picture,
        "folder/x.jpg": picture,
        "cut.jpg": picture[: len(picture) // 2],
        "text.jpg": b"no picture",
        "empty.jpg": b"",
        "no.json": b"{}",
        "list.json": b"[]",
        "cut.json": places.sample("shapes/annotations.json")[:5000],
    }


def wrong_inputs(places):
    files = cut_files(places)
    checkpoints = [name for name in files if name.endswith(".pth") and name != "own.pth"] + ["absent.pth", "folder"]
    yield listed("wrong", [command for name in checkpoints for command in wrong_checkpoint(name)], files=files)
    pictures = ["text.jpg", "empty.jpg", "cut.jpg", "absent.jpg", "own.pth", "folder/none"]
    detect = [f"detect {name} --weights own.pth --image-size 64" for name in pictures]
    yield listed("wrong", [form for command in detect for form in both_forms(command)], files=files)
    documents = ["no.json", "list.json", "cut.json", "absent.json", "text.jpg", "folder"]
    yield listed("wrong", [command for name in documents for command in wrong_document(name)], files=files)
    yield listed("wrong", list(usage_errors()), files=files)
    if places.reference("reference"):
        yield listed("wrong", list(other_families()), files=files)


def wrong_checkpoint(name):
    yield from both_forms(f"inspect {name}")
    yield from both_forms(f"convert {name} --to safetensors -o out.safetensors")
    yield f"convert {name} --to pth --model auto -o out.pth"
    yield f"verify {name}"
    yield f"verify own.pth {name} --json"
    yield f"detect one.jpg --weights {name} --json"
    yield from both_forms(f"bench {name}")


def wrong_document(name):
    for command in ("coco", "voc"):
        yield from both_forms(f"eval {command} --annotations {name} --results {name}")
        yield f"eval {command} --annotations {ANNOTATIONS} --results {name}"
    yield f"eval coco --annotations {name} --weights own.pth --images folder --image-size 64"
    yield from both_forms(f"data check {name}")
    yield f"data convert {name} --to voc -o voc"
    yield f"bench --compare {name} {name}"


def usage_errors():
    sized = [f"{command} --image-size {size}" for command in SIZED for size in SIZES]
    for command in USAGE.strip().splitlines() + sized:
        for short, long in SHORT.items():
            command = command.replace(short, long)
        yield command
    for rule in ("{x} => {y}", "{a..} => x", "{ => x"):
        yield Command(["convert", "own.pth", "--to", "pkl", "-o", "out.pkl", "--rename", rule])


def other_families():
    """A network for another, of another family."""
    files = {family: f"shared/reference/{name}" for family, name in FAMILIES.items()}
    for family, name in files.items():
        for other, its in files.items():
            yield f"convert {name} --to pth --model {other} -o out.pth"
            if family != other:
                yield from both_forms(f"verify {name} {its} --image-size 64")
        yield f"detect one.jpg --weights {name} --model nanodet-plus-m --json"
        yield f"detect one.jpg --weights {name} --model gold-yolo-n --json"
        yield f"verify {name} --mapping nanodet-plus/jittor"
        yield f"verify {name} shared/reference/gold-yolo/n/activations.safetensors"
