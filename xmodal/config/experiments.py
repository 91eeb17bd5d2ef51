"""The experiments, and what some of them cannot do."""

EXPERIMENTS = ("vgg_to_bert", "vgg_to_vgg", "cnn_to_text", "bert_news", "text_to_image", "fusion")
NOT_ATTACKED = ("cnn_to_text", "text_to_image", "fusion")
# What --small makes forms of.
SHRUNK = ("bert_news", "vgg_to_bert")
