"""The bpf(2) calls that the fault tests look at the kernel with: no code of penstock's, no library but libc."""
import ctypes
import os
import struct
import time

libc = ctypes.CDLL(None, use_errno=True)
SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
XDP_DROP, XDP_PASS = 1, 2
FOREVER = 2**64 - 1


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(152, b"\0"), 152)
    result = libc.syscall(SYS_BPF, command, buffer, 152)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result, buffer.raw


def obj_get(path):
    name = ctypes.create_string_buffer(path.encode())
    return bpf(7, struct.pack("QII", ctypes.addressof(name), 0, 0))[0]


def obj_pin(fd, path):
    name = ctypes.create_string_buffer(path.encode())
    bpf(6, struct.pack("QII", ctypes.addressof(name), fd, 0))


def info(fd, size=64):
    out = ctypes.create_string_buffer(size)
    bpf(15, struct.pack("IIQ", fd, size, ctypes.addressof(out)))
    return out.raw


def link_program(fd):
    """id of the program that a link runs"""
    return struct.unpack_from("I", info(fd), 8)[0]


def program_id(fd):
    return struct.unpack_from("I", info(fd), 4)[0]


def map_shape(fd):
    """(id, value size, entries)"""
    _, number, _, value, entries = struct.unpack_from("IIIII", info(fd))
    return number, value, entries


def program_fd(number):
    return bpf(13, struct.pack("I", number))[0]


def lookup(fd, index, size):
    key, value = ctypes.c_uint32(index), ctypes.create_string_buffer(size)
    bpf(1, struct.pack("IIQQQ", fd, 0, ctypes.addressof(key), ctypes.addressof(value), 0))
    return value.raw


def update(fd, index, data):
    key, value = ctypes.c_uint32(index), ctypes.create_string_buffer(data, len(data))
    bpf(2, struct.pack("IIQQQ", fd, 0, ctypes.addressof(key), ctypes.addressof(value), 0))


def load_classifier(name, result):
    """A tc program that returns `result`."""
    code = struct.pack("BBhiBBhi", 0xB7, 0, 0, result, 0x95, 0, 0, 0)
    words, licence = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    return bpf(5, struct.pack("IIQQIIQII16s", 3, 2, ctypes.addressof(words), ctypes.addressof(licence), 0, 0, 0, 0, 0, name.encode()))[0]


def attach_tcx(program, ifindex, egress=False):
    """A link, which holds as long as its descriptor.  In the network namespace of this process."""
    return bpf(28, struct.pack("IIII", program, ifindex, 47 if egress else 46, 0))[0]


class Probe:
    """One packet, run through programs by BPF_PROG_RUN."""

    def __init__(self, packet):
        self.packet = ctypes.create_string_buffer(packet, len(packet))
        self.size = len(packet)

    def run(self, program):
        request = struct.pack("IIIIQQII", program, 0, self.size, 0, ctypes.addressof(self.packet), 0, 1, 0)
        return struct.unpack_from("I", bpf(10, request)[1], 4)[0]


def coarse_now():
    return time.clock_gettime_ns(6)  # CLOCK_MONOTONIC_COARSE, which the gates compare with


def coarse_tick():
    return int(time.clock_getres(6) * 1e9)


def enter_network(name):
    """Moves this process into a named network namespace."""
    fd = os.open("/run/netns/" + name if name else "/proc/1/ns/net", os.O_RDONLY)
    if libc.setns(fd, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    os.close(fd)
