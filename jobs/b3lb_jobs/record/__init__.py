"""From a recording's archive to a video file: extract, read, plan, render.

The published format of BBB's presentation recordings has no specification; its source is the publishing script
``record-and-playback/presentation/scripts/publish/presentation.rb`` of BigBlueButton, in its generations.
"""
