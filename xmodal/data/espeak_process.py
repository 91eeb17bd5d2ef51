"""Says words with eSpeak NG: a program of its own, which knows nothing of this package.

    python espeak_process.py FOLDER < lines > sounds

FOLDER holds libespeak-ng.so and espeak-ng-data/. Each line has, with tabs between them, a text, a voice such
as en-us+f2, words a minute, and a pitch from 0 to 99. What is written is the rate, and for each line the
number of bytes and the samples of 16 bits; numbers have four bytes, the least first. The same lines give the
same sounds (espeak-ng/speak_lib.h).
"""

import ctypes
import sys

RETRIEVAL, DO_NOT_EXIT = 1, 0x8000
RATE, PITCH = 1, 3
CHARACTERS, UTF8 = 1, 1


def main() -> None:
    """Reads lines, and writes what is said of each."""
    folder = sys.argv[1]
    library = ctypes.CDLL(f"{folder}/libespeak-ng.so")
    rate = library.espeak_Initialize(RETRIEVAL, 0, folder.encode(), DO_NOT_EXIT)
    if rate <= 0:
        sys.exit(f"the tables in {folder!r} cannot be read")
    chunks: list[bytes] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def hear(samples, count, events):
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    library.espeak_SetSynthCallback(hear)
    sys.stdout.buffer.write(rate.to_bytes(4, "little"))
    for line in sys.stdin:
        text, voice, pace, pitch = line.rstrip("\n").split("\t")
        chunks.clear()
        # Breath and fricatives are noise, of a generator of its own.
        library.espeak_ng_SetRandSeed(1)
        if library.espeak_SetVoiceByName(voice.encode()):
            sys.exit(f"there is no voice {voice!r}")
        library.espeak_SetParameter(RATE, int(pace), 0)
        library.espeak_SetParameter(PITCH, int(pitch), 0)
        content = text.encode() + b"\0"
        library.espeak_Synth(content, len(content), 0, CHARACTERS, 0, UTF8, None, None)
        library.espeak_Synchronize()
        samples = b"".join(chunks)
        sys.stdout.buffer.write(len(samples).to_bytes(4, "little") + samples)


if __name__ == "__main__":
    main()
