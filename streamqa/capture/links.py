"""What each network protocol needs of FFmpeg: bounded waits, quick opening, nothing but the network. Pure.

FFmpeg ignores an option that a protocol does not know, without a word. Measured against servers that accept and
say nothing, whose queue is full, or that send a byte now and then (PyAV 18, FFmpeg 8.1):

- RTSP and RTSPS: only `timeout` bounds connecting, opening and reading, the latter at twice its value;
  `rw_timeout` and `stimeout` change nothing. `timeout` of RTMP means to wait for others to connect.
- HTTP(S): `timeout` bounds connecting and each read, `rw_timeout` only reads (it connects for 5 s), and HLS hands
  only `rw_timeout` on to its segments. Neither sees an end where bytes trickle.
- RTMP(S): `rw_timeout` bounds each read, connecting takes 5 s.
- PyAV's own timeout (for opening, for each read) bounds all of it in all of them, exactly, but asks Python whether to
  go on ten times a second. So it stands beside FFmpeg's, except for RTSP, which needs none.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

from streamqa.version import __version__

# What a server may make FFmpeg open: a playlist or a redirection names any URL, e.g. file:/etc/passwd or concat:….
_WEB = "http,https,tls,tcp,crypto,httpproxy,data"
# Of what a guarded source may be: video, and playlists that hand the proxy on. Not `concat`, a text that names files,
# which FFmpeg recognises in whatever a server sends: it fetches them without the proxy (measured).
_FORMATS = (
    "hls,mpegts,mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,asf,mpeg,mpegvideo,mpjpeg,mjpeg,h264,hevc,vvc,"
    "av1,obu,ivf,m4v,ogg,nut,mxf,gif,apng,jpeg_pipe,png_pipe,webp_pipe,aac,ac3,eac3,mp3,webvtt"
)
_RTSP = "rtp,udp,tcp,tls"
_RTMP = "rtmp,rtmps,tls,tcp"
_SRT = "srt"
_SEGMENTS_S = 20.0  # two of the longest segments

# Frames for guessing the frame rate are not waited for: RTSP opens in 0.2 s instead of 0.9 s, with codec and size
# as right. Size and codec themselves are waited for this long, e.g. for the first keyframe of a camera that does not
# describe them; sound that was promised and does not come would take FFmpeg's 5 s.
_QUICK = {"fpsprobesize": "0", "analyzeduration": "2000000"}


def _frozen(options: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(options))


@dataclass(frozen=True, slots=True)
class Protocol:
    """What opening a URL of one scheme needs."""

    timeouts: tuple[str, ...]  # FFmpeg's options, in µs
    whitelist: str
    own_timeout: bool  # whether PyAV's own timeout is needed, too
    options: Mapping[str, str]  # for a live stream
    port: int  # where the URL names none
    tls: bool = False
    always: Mapping[str, str] = field(default_factory=lambda: _frozen({}))  # for recordings, too


_HTTP_TIMEOUTS = ("timeout", "rw_timeout")
_AGENT = _frozen({"user_agent": f"streamqa/{__version__}", "icy": "0"})
# HLS begins with the newest segment instead of the third newest: pictures that are older than need be are not live.
_LIVE_HTTP = _frozen({**_QUICK, "live_start_index": "-1"})
_LIVE_RTSP = _frozen({**_QUICK, "allowed_media_types": "video"})  # no sound is sent, nor waited for
# FLV may always add another stream, so that the whole of this is waited.
_LIVE_RTMP = _frozen({"fpsprobesize": "0", "analyzeduration": "500000", "rtmp_live": "live"})

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "rtsp": Protocol(("timeout",), _RTSP, False, _LIVE_RTSP, 554),
        "rtsps": Protocol(("timeout",), _RTSP, False, _LIVE_RTSP, 322, tls=True),
        "http": Protocol(_HTTP_TIMEOUTS, _WEB, True, _LIVE_HTTP, 80, always=_AGENT),
        "https": Protocol(_HTTP_TIMEOUTS, _WEB, True, _LIVE_HTTP, 443, tls=True, always=_AGENT),
        "rtmp": Protocol(("rw_timeout",), _RTMP, True, _LIVE_RTMP, 1935),
        "rtmps": Protocol(("rw_timeout",), _RTMP, True, _LIVE_RTMP, 443, tls=True),
        # PyAV's own packages have no SRT; one that was built with it can be used.
        "srt": Protocol(("timeout",), _SRT, True, _frozen(_QUICK), 9710),
    }
)


def protocol_of(url: str) -> Protocol | None:
    """The protocol of a URL; None: a path, or a scheme that is none of ours."""
    scheme, mark, _ = url.partition("://")
    return PROTOCOLS.get(scheme.lower()) if mark else None


def address_of(url: str) -> tuple[str, int] | None:
    """Host and port of a URL of ours, without user or password; None where it has none that can be read."""
    protocol = protocol_of(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # a password with a bracket, or a port that is no number
        return None
    if protocol is None or not parts.hostname:
        return None
    return parts.hostname, port or protocol.port


def silence_s(url: str, usual_s: float) -> float:
    """How long the live stream at `url` may send nothing, if others may for `usual_s`.

    HLS comes a segment at once, of 6 s as a rule and up to 10 s, and nothing between. Measured with segments of 6 s:
    a read that waits for 5 s only ends before each next one, and the stream is connected anew every 10 s.
    """
    is_segmented = protocol_of(url) is not None and url.partition("?")[0].lower().endswith(".m3u8")
    return max(usual_s, _SEGMENTS_S) if is_segmented else usual_s


@dataclass(frozen=True, slots=True)
class Link:
    """How to connect to a source on the network."""

    timeout_s: float
    transport: str = "tcp"  # of RTSP: "tcp" or "udp"
    tls_verify: bool = True
    live: bool = True  # False: a recording, for which the frame rate is waited for
    proxy: str = ""  # of http and https, for guarded sources

    def options(self, url: str) -> dict[str, str]:
        """FFmpeg's options for `url`; empty for a path."""
        protocol = protocol_of(url)
        if protocol is None:
            return {}
        options = {name: str(int(self.timeout_s * 1e6)) for name in protocol.timeouts}
        options |= {"protocol_whitelist": protocol.whitelist, **protocol.always}
        if self.live:
            options |= protocol.options
        if protocol.whitelist == _RTSP:
            options["rtsp_transport"] = self.transport
        if protocol.whitelist == _WEB and self.proxy:
            options |= {"http_proxy": self.proxy, "format_whitelist": _FORMATS}
        if protocol.tls:
            options |= self._tls()
        return options

    def own_timeout_s(self, url: str) -> float | None:
        """PyAV's own timeout for `url`; None: it needs none."""
        protocol = protocol_of(url)
        return self.timeout_s if protocol is not None and protocol.own_timeout else None

    def _tls(self) -> dict[str, str]:
        if not self.tls_verify:
            return {"tls_verify": "0"}
        return {"tls_verify": "1", "ca_file": authorities()}


def authorities() -> str:
    """The file of certificates that this machine trusts (`SSL_CERT_FILE`, or the system's)."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.openssl_cafile
