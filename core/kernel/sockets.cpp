#include "core/kernel/sockets.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace penstock {
namespace {

namespace fs = std::filesystem;

// /proc prints an address as 32-bit words, each in the machine's byte order.
bool read_address(const char* hex, size_t length, Address& out) {
  std::array<uint8_t, 16> wire{};
  for (size_t word = 0; word < length / 8; ++word) {
    uint32_t value = 0;
    if (std::from_chars(hex + word * 8, hex + word * 8 + 8, value, 16).ec != std::errc()) return false;
    std::memcpy(wire.data() + word * 4, &value, 4);
  }
  if (length == 8) {
    uint32_t v4;
    std::memcpy(&v4, wire.data(), 4);
    out = Address::v4(ntohl(v4));
  } else {
    out = Address::v6(wire.data());
  }
  return true;
}

Result<> read_table(const char* path, std::vector<TcpSocket>& out) {
  constexpr unsigned established = 1, listening = 10;
  std::ifstream in(path);
  std::string line;
  if (!std::getline(in, line)) return fail(fmt::format("cannot read {}", path));  // the heading
  while (std::getline(in, line)) {
    char local[33], remote[33];
    unsigned local_port, remote_port, state;
    unsigned long inode;
    if (std::sscanf(line.c_str(), " %*d: %32[0-9A-F]:%x %32[0-9A-F]:%x %x %*s %*s %*s %*u %*u %lu", local, &local_port, remote, &remote_port,
                    &state, &inode) != 6 ||
        (state != established && state != listening))
      continue;
    TcpSocket s;
    if (!read_address(local, std::strlen(local), s.local) || !read_address(remote, std::strlen(remote), s.remote)) continue;
    s.local_port = static_cast<uint16_t>(local_port);
    s.remote_port = static_cast<uint16_t>(remote_port);
    s.listening = state == listening;
    s.inode = inode;
    out.push_back(s);
  }
  return {};
}

}  // namespace

Result<std::vector<TcpSocket>> tcp_sockets() {
  std::vector<TcpSocket> out;
  TRY(read_table("/proc/self/net/tcp", out));
  // Absent where the kernel has no IPv6.
  if (fs::exists("/proc/self/net/tcp6")) TRY(read_table("/proc/self/net/tcp6", out));
  return out;
}

Result<HeldSockets> sockets_of(const std::set<std::string>& executables) {
  HeldSockets out;
  std::error_code error;
  fs::directory_iterator process("/proc", error);
  if (error) return fail_errno("cannot list the processes in /proc", error.value());
  for (const fs::directory_iterator end; process != end; process.increment(error)) {
    const std::string pid = process->path().filename();
    if (!std::ranges::all_of(pid, [](char c) { return c >= '0' && c <= '9'; })) continue;
    // Processes come and go while we look, and the kernel's own have no executable: only a refusal counts.
    std::error_code refused;
    std::string executable = fs::read_symlink(process->path() / "exe", refused).filename();
    if (refused == std::errc::permission_denied) {  // its name may be read even so
      std::ifstream comm(process->path() / "comm");
      std::string name;
      std::getline(comm, name);
      out.unreadable += executables.contains(name);
    }
    constexpr std::string_view deleted = " (deleted)";  // replaced by an upgrade while it runs
    if (executable.ends_with(deleted)) executable.resize(executable.size() - deleted.size());
    if (!executables.contains(executable)) continue;
    fs::directory_iterator fd(process->path() / "fd", refused);
    if (refused == std::errc::permission_denied) ++out.unreadable;
    for (; !refused && fd != end; fd.increment(refused)) {
      std::error_code gone;
      const std::string target = fs::read_symlink(fd->path(), gone);
      uint64_t inode = 0;
      if (target.starts_with("socket:[") && std::from_chars(target.data() + 8, target.data() + target.size(), inode).ec == std::errc())
        out.inodes.insert(inode);
    }
  }
  if (error) return fail_errno("cannot list the processes in /proc", error.value());
  return out;
}

}  // namespace penstock
