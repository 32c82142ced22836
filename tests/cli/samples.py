"""Arguments and configs that are small enough for tests of the command line."""

TINY_PLAN = ["plan", "small_mobilenetv2", "--input", "1", "8", "8", "--classes", "10", "--round-to", "2"]
TINY = {"data": {"limit": 64}, "training": {"epochs": 1, "warmup_epochs": 0, "threads": 1}}
