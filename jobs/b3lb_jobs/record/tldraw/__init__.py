"""tldraw.json: what BBB from 2.6 on drew on the slides.

BBB 2.6 and 2.7 hold shapes of tldraw 1, BBB 3.0 those of tldraw 2. Only what BBB's whiteboard offers is known here;
hand-drawn outlines become plain ones. Sources: the packages ``@tldraw/tldraw`` 1.x and ``@tldraw/tlschema`` 2.0.
"""
