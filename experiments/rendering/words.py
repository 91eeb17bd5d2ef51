"""What the pages say, in English and in Chinese."""

import re

# What the rows say, and the heads of the table. In Chinese those of the records above are enough.
ENGLISH = {
    "head": ("record", "data", "accuracy, with its 95% interval", "beside it", "commit", "minutes"),
    "others": "mean of {} other test sets",
    "moved": "with the other's scorer: {} points",
    "under attack": "under attack",
    "held": "{:,} of {:,} odd inputs held ({:.2%})",
    "asked": "photographs answered in typed words, a second",
    "classifier alone": "the classifier alone",
    "open set": "inputs of another kind are stranger than known ones in at least {:.1%} of cases ({})",
    "kills": "{:,} kills; {:,} of {:,} ended as without them",
    "half the passes": "at most half the passes of random growth in {} of {} trainings",
    "sentences read": "{:,} images: BERT reads {:,} sentences in {:.1f} s",
    "sentences of": "logits drawn for {:,} images: BERT reads {:,} sentences in {:.1f} s",
    "promises": ("promised", "recorded"),
    "worth": "What transfer is worth, by labelled examples a class: test accuracy, with its 95% interval.",
    "examples": "examples a class",
    "images": "images",
    "texts": "texts",
    "with": "with transfer",
    "without": "without",
    "all": "all",
    "unheard": ("speaker never heard", "sound", "through text", "without transfer", "points by transfer"),
    "mean of": "mean of {}",
    "worth plot": "What transfer is worth: test accuracy with its 95% interval",
    "cifar10": "90% on CIFAR-10 through text; 50 minutes without transfer",
    "vgg_to_vgg_mnist": "98.22% on MNIST after VGG16 to VGG19",
    "kept": "{:.2%} [{:.2f}, {:.2f}] on {:,} test images, {:.0f} minutes on {} CPU cores with everything",
    "features": "VGG19 features in float32, images a second",
    "vgg step": "training step of VGG19 in float32, images a second",
    "vgg half step": "training step of VGG19 in bfloat16, images a second",
    "encoding": "BERT on 32 tokens, texts a second",
    "half encoding": "BERT on 16 tokens in bfloat16, texts a second",
    "bert step": "fine-tuning step of BERT on 128 tokens, texts a second",
    "whole run": "whole run of vgg_to_bert, seconds",
    "half run": "whole run of vgg_to_bert in bfloat16, seconds",
    "cached_head": "head on kept features, images a second",
    "loop": "training step of VGG19, images a second",
    "sentences": "BERT on {} sentences, seconds",
    "scrub": "personal data found in documents that were made for it, in English and in Chinese",
    "through the trunk": "through the frozen trunk",
    "keras": "Keras `fit`",
    "served alone": "an image asked of the export, milliseconds",
    "served": "the export in batches of 64, images a second",
    "predict": "Keras `predict`",
    "each image": "one pass an image",
    "times": "{:.3g} times ({:.3g} to {:.3g})",
    "marked": "of what was marked, personal",
}
CHINESE = {
    "head": ("记录", "数据", "准确率与 95% 置信区间", "对照", "提交", "分钟"),
    "others": "{} 个其他测试集的平均",
    "moved": "换用另一模态的打分器：{} 个百分点",
    "under attack": "受攻击时",
    "promises": ("承诺", "记录"),
    "worth": "迁移值多少，按每类有标签的样本数：测试准确率与 95% 置信区间。",
    "examples": "每类样本数",
    "images": "图像",
    "texts": "文本",
    "with": "做迁移",
    "without": "不做迁移",
    "all": "全部",
    "unheard": ("从未听过的说话人", "声音", "经由文本", "不做迁移", "迁移带来的百分点"),
    "mean of": "{} 人的平均",
    "worth plot": "迁移值多少：测试准确率与 95% 置信区间",
    "cifar10": "CIFAR-10 经由文本 90%；不做迁移 50 分钟",
    "vgg_to_vgg_mnist": "VGG16 到 VGG19 之后 MNIST 98.22%",
    "kept": "{:.2%} [{:.2f}, {:.2f}]，{:,} 张测试图像，全程 {:.0f} 分钟，{} 个 CPU 核心",
    "features": "VGG19 特征，float32，每秒图像数",
    "vgg step": "VGG19 训练步，float32，每秒图像数",
    "vgg half step": "VGG19 训练步，bfloat16，每秒图像数",
    "encoding": "BERT 读 32 个词元，每秒文本数",
    "half encoding": "BERT 以 bfloat16 读 16 个词元，每秒文本数",
    "bert step": "BERT 在 128 个词元上的微调步，每秒文本数",
    "whole run": "整个 vgg_to_bert 运行的秒数",
    "half run": "整个 vgg_to_bert 以 bfloat16 运行的秒数",
    "every image through the whole network in every epoch": "每轮每张图像都过整个网络",
    "times": "{:.3g} 倍 ({:.3g} 到 {:.3g})",
}
# Commas, colons and semicolons of code, links, intervals and the rules of tables, and all others.
_PUNCTUATION = re.compile(r"(`[^`]*`|\]\([^)]*\)|\[[-+\d., ]*\]|---:)|([,:;]) ")
_WIDE = {",": "，", ":": "：", ";": "；"}


def punctuated(text: str, words: dict) -> str:
    """Returns a text with the punctuation of its language: full-width in Chinese."""
    if words is not CHINESE:
        return text
    text = _PUNCTUATION.sub(lambda found: found[1] or _WIDE[found[2]], text)
    return re.sub(r"(?<=%) to (?=\d)", " 到 ", text)


README_LANGUAGES = {"README.md": ENGLISH, "README.zh-CN.md": CHINESE}
