"""GStreamer's RTSP server with a clip, live and over and over: a camera whose protocol is not ours.

    /usr/bin/python3 tests/gst_rtsp_server.py CLIP [--port N] [--user NAME --password WORD]

It prints `port N` when it listens; /cam is the camera. The clip is H.264 in mp4 without B-frames. Run by the
system's Python, which has GStreamer's bindings; neither streamqa nor its libraries are there.
"""

import argparse
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstApp, GstRtsp, GstRtspServer  # noqa: E402, F401  versions are asked for first

READ = (
    'filesrc location="{clip}" ! qtdemux ! h264parse config-interval=-1'
    " ! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=sink sync=false"
)
PLAY = (
    "( appsrc name=clip is-live=true do-timestamp=true format=time"
    " caps=video/x-h264,stream-format=byte-stream,alignment=au"
    " ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


def read(clip):
    """The pictures of a clip in bytes, and the seconds from one to the next."""
    pipeline = Gst.parse_launch(READ.format(clip=clip))
    pipeline.set_state(Gst.State.PLAYING)
    sink = pipeline.get_by_name("sink")
    pictures, period_s = [], 0.0
    while (sample := sink.try_pull_sample(10 * Gst.SECOND)) is not None:
        buffer = sample.get_buffer()
        pictures.append(buffer.extract_dup(0, buffer.get_size()))
        period_s = period_s or buffer.duration / Gst.SECOND
    pipeline.set_state(Gst.State.NULL)
    if not pictures:
        raise SystemExit(f"{clip}: no H.264 in mp4")
    return pictures, period_s


class Camera:
    """What every viewer of the one camera sees."""

    def __init__(self, pictures, period_s):
        self.pictures, self.period_s = pictures, period_s

    def prepare(self, _factory, media):
        """Called for the first viewer: from now on give a picture whenever its time has come."""
        source = media.get_element().get_by_name_recurse_up("clip")
        begin_s, number = time.monotonic(), 0

        def push():
            nonlocal number
            picture = self.pictures[number % len(self.pictures)]
            number += 1
            if source.push_buffer(Gst.Buffer.new_wrapped(picture)) != Gst.FlowReturn.OK:
                return False  # the last viewer has gone
            wait_s = begin_s + number * self.period_s - time.monotonic()
            GLib.timeout_add(max(0, round(wait_s * 1000)), push)
            return False

        push()


def guard(server, factory, user, password):
    """Ask for a name and a password, by Digest."""
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    viewer = GstRtspServer.RTSPToken()
    viewer.set_string("media.factory.role", "viewer")
    auth.add_digest(user, password, viewer)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for right in ("access", "construct"):
        permissions.add_permission_for_role("viewer", f"media.factory.{right}", True)
    factory.set_permissions(permissions)


def main():
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("clip")
    parser.add_argument("--port", default="0")
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    given = parser.parse_args()
    Gst.init(None)
    camera = Camera(*read(given.clip))
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(given.port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PLAY)
    factory.set_shared(True)
    factory.connect("media-configure", camera.prepare)
    if given.user:
        guard(server, factory, given.user, given.password)
    server.get_mount_points().add_factory("/cam", factory)
    if not server.attach(None):
        raise SystemExit(f"port {given.port} is taken")
    print("port", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
