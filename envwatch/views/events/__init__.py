"""Events: filters, sentences, the lines of `watch`, CloudEvents, the line of a day."""
