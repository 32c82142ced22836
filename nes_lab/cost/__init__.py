"""What a model costs: params and multiply-adds counted, latency measured."""
