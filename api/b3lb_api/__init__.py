"""The front end: uploads of recordings, and playback of their videos."""
