"""Events: filters, sentences, the lines of `watch`, CloudEvents, the day's line."""
