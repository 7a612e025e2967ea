"""Standing questions of video: cameras and clips in, typed and timestamped answers out."""
