"""Speech: recordings -> log-mel frames, splits and batches; and frames -> waveforms."""
