// Checks against servers on the same loop, on the loopback device: what passes, what does not, and what is said of it.
#include "app/agent/check.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <filesystem>
#include <fstream>

#include "app/agent/http.h"

namespace penstock {
namespace {

using namespace std::chrono_literals;

// A socket on a free port of a loopback address.
struct Server {
  Fd fd;
  uint16_t port = 0;
  explicit Server(int type, bool v6 = false) : fd(socket(v6 ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_loopback;
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(fd.get(), v6 ? reinterpret_cast<sockaddr*>(&address) : reinterpret_cast<sockaddr*>(&four), v6 ? sizeof address : sizeof four), 0);
    if (type == SOCK_STREAM) {
      EXPECT_EQ(listen(fd.get(), 16), 0);
    }
    socklen_t size = sizeof address;
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port = ntohs(address.sin6_port);  // at the same place in both
  }
};

class Checks : public testing::Test {
 protected:
  Checks() : loop(std::move(*Loop::make())), http(std::move(*HttpClient::make(loop))) {}

  // "" when it passed; the check's own words when it did not, or at its timeout.
  std::string run(const Health& health, Target target, Moment timeout = 2s) {
    target.service = "web";
    target.backend = "b1";
    if (target.address == Address{}) target.address = Address::v4(0x7f000001);
    std::string said = "nothing";
    int ended = 0;
    CheckContext context{loop, *http};
    std::unique_ptr<Check> check = start_check(context, health, target, [&](std::string error) {
      ++ended;
      said = std::move(error);
      check.reset();
      loop.end();
    });
    EXPECT_EQ(ended, 0) << "it ends before it began";
    const Source late = loop.at(loop.now() + timeout, [&] {
      said = check->late();
      check.reset();
      loop.end();
    });
    EXPECT_TRUE(loop.run());
    EXPECT_LE(ended, 1);
    // A loop that has ended cannot run again.
    http.reset();
    loop = std::move(*Loop::make());
    http = std::move(*HttpClient::make(loop));
    return said;
  }
  static Health health(decltype(Health::check) check) {
    Health h;
    h.check = std::move(check);
    return h;
  }

  Loop loop;
  std::unique_ptr<HttpClient> http;
};

std::string at(uint16_t port) { return "127.0.0.1:" + std::to_string(port); }
uint16_t closed_port() { return Server(SOCK_STREAM).port; }

TEST_F(Checks, Tcp) {
  const Server server(SOCK_STREAM), six(SOCK_STREAM, true);
  EXPECT_EQ(run(health(TcpCheck{}), {.address = {}, .port = server.port}), "");
  EXPECT_EQ(run(health(TcpCheck{}), {.address = {0, 1}, .port = six.port}), "");
  const uint16_t nobody = closed_port();
  EXPECT_EQ(run(health(TcpCheck{}), {.address = {}, .port = nobody}), "cannot connect to " + at(nobody) + ": Connection refused");
}

TEST_F(Checks, TcpThatNobodyAnswers) {
  // A listener whose queue is full answers no SYN.
  const Server server(SOCK_STREAM);
  listen(server.fd.get(), 0);
  std::vector<Fd> crowd;
  for (int i = 0; i < 8; ++i) {
    crowd.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(server.port);
    connect(crowd.back().get(), reinterpret_cast<sockaddr*>(&to), sizeof to);
  }
  EXPECT_EQ(run(health(TcpCheck{}), {.address = {}, .port = server.port}, 200ms), "no answer from " + at(server.port) + " to a connection attempt");
}

class UdpChecks : public Checks {
 protected:
  // Answers each datagram with its own words behind `prefix`.
  std::string run_against(const std::string& prefix, const UdpCheck& check) {
    const Server server(SOCK_DGRAM);
    const Source answering = loop.io(server.fd.get(), EPOLLIN, [&](uint32_t) {
      char text[2048];
      sockaddr_in from{};
      socklen_t size = sizeof from;
      const ssize_t got = recvfrom(server.fd.get(), text, sizeof text, 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (prefix == "silence") return;
      const std::string answer = prefix + std::string(text, static_cast<size_t>(got));
      sendto(server.fd.get(), answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    });
    std::string said = run(health(check), {.address = {}, .port = server.port}, 200ms);
    if (const size_t place = said.find(at(server.port)); place != said.npos) said.replace(place, at(server.port).size(), "X");
    return said;
  }
};

TEST_F(UdpChecks, Udp) {
  EXPECT_EQ(run_against("you said ", {"ping", "you said ping"}), "");
  EXPECT_EQ(run_against("you said ", {std::string("\0\xff", 2), std::string("d \0\xff", 4)}), "");
  EXPECT_EQ(run_against("", {"ping", ""}), "");
  EXPECT_EQ(run_against("you said ", {"ping", "pong"}), "X answered, but not with what is expected");
  EXPECT_EQ(run_against("silence", {"ping", "ping"}), "no answer from X");
  const uint16_t nobody = closed_port();
  EXPECT_EQ(run(health(UdpCheck{"ping", ""}), {.address = {}, .port = nobody}), "no answer from " + at(nobody) + ": Connection refused");
}

class HttpChecks : public Checks {
 protected:
  // A server of one answer, which ends the connection behind it.
  std::string run_against(const std::string& answer, const HttpCheck& check, Moment timeout = 2s) {
    const Server server(SOCK_STREAM);
    std::vector<std::pair<Fd, Source>> clients;
    clients.reserve(4);
    const Source accepting = loop.io(server.fd.get(), EPOLLIN, [&](uint32_t) {
      Fd client(accept4(server.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      const int fd = client.get();
      clients.emplace_back(std::move(client), loop.io(fd, EPOLLIN, [&, fd, place = clients.size()](uint32_t) {
        char text[4096];
        const ssize_t size = read(fd, text, sizeof text);
        if (size > 0) request.append(text, static_cast<size_t>(size));
        if (size <= 0) return clients[place].second.reset();
        if (answer.empty() || (request.starts_with("GET") && !request.ends_with("\r\n\r\n"))) return;
        EXPECT_EQ(send(fd, answer.data(), answer.size(), MSG_NOSIGNAL), static_cast<ssize_t>(answer.size()));
        shutdown(fd, SHUT_WR);
      }));
    });
    request.clear();
    std::string said = run(health(check), {.address = {}, .port = server.port}, timeout);
    while (true) {
      const size_t place = said.find(at(server.port));
      if (place == said.npos) return said;
      said.replace(place, at(server.port).size(), "X");
    }
  }
  std::string request;
};

TEST_F(HttpChecks, Http) {
  const std::string fine = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall fine\n";
  EXPECT_EQ(run_against(fine, {}), "");
  EXPECT_TRUE(request.starts_with("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")) << request;
  EXPECT_EQ(run_against(fine, {.host = "www.example.org", .path = "/a/../b?c=%20", .status = {{200, 200}}, .body = "fine"}), "");
  EXPECT_TRUE(request.starts_with("GET /a/../b?c=%20 HTTP/1.1\r\nHost: www.example.org\r\n")) << request;
  EXPECT_EQ(request.find("Host:"), request.rfind("Host:"));
  EXPECT_EQ(run_against(fine, {.body = "ready"}), "GET / of X was answered with 200, but without the text `ready`");
  EXPECT_EQ(run_against("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", {}), "");
  EXPECT_EQ(run_against("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", {.status = {{200, 299}}}), "GET / of X was answered with 302");
  EXPECT_EQ(run_against("HTTP/1.1 503 Gone\r\nContent-Length: 0\r\n\r\n", {}), "GET / of X was answered with 503");
  EXPECT_EQ(run_against("", {}, 1s), "no answer from X to GET /");
}

TEST_F(HttpChecks, OfALongBodyTheBeginningIsRead) {
  const auto answer = [](size_t before, const std::string& text) {
    const std::string body = std::string(before, '.') + text;
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size() + 1'000'000) + "\r\n\r\n" + body;  // the rest never comes
  };
  EXPECT_EQ(run_against(answer(50'000, "fine"), {.body = "fine"}), "");
  EXPECT_TRUE(run_against(answer(0, ""), {}).starts_with("X: transfer closed"));  // not even one byte of it
  EXPECT_EQ(run_against(answer(65'535, "fine"), {.body = "fine"}), "GET / of X was answered with 200, but without the text `fine`");
}

TEST_F(HttpChecks, WhatIsNoHttp) {
  EXPECT_NE(run_against("SSH-2.0-OpenSSH_9.2\r\n", {}).find("HTTP/0.9"), std::string::npos);
  const uint16_t nobody = closed_port();
  const std::string said = run(health(HttpCheck{}), {.address = {}, .port = nobody});
  EXPECT_TRUE(said.starts_with(at(nobody) + ": ")) << said;
  EXPECT_NE(run_against("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", {.host = "a", .tls = true}).find("SSL"), std::string::npos);
  EXPECT_EQ(run_against("", {.host = "a", .tls = true}, 1s), "no TLS connection to X came about");
}

std::string script(const std::string& text) { return text; }
ExecCheck shell(const std::string& text) { return {{"/bin/sh", "-c", script(text)}}; }

TEST_F(Checks, Exec) {
  EXPECT_EQ(run(health(shell("exit 0")), {}), "");
  EXPECT_EQ(run(health(shell("echo first; echo 'no database' >&2; exit 3")), {}), "/bin/sh ended with 3: no database");
  EXPECT_EQ(run(health(shell("kill -TERM $$")), {}), "/bin/sh was ended by signal 15");
  EXPECT_EQ(run(health(ExecCheck{{"/no/such/thing"}}), {}), "cannot run /no/such/thing: No such file or directory");
  EXPECT_EQ(run(health(shell("test \"$PENSTOCK_SERVICE $PENSTOCK_BACKEND $PENSTOCK_ADDRESS $PENSTOCK_PORT\" = 'web b1 127.0.0.1 80'")), {.address = {}, .port = 80}), "");
  EXPECT_EQ(run(health(shell("test -z \"$PENSTOCK_PORT\" && test -z \"$(cat)\"")), {}), "");
  EXPECT_EQ(run(health(shell("head -c 1000000 /dev/zero | tr '\\0' x; exit 1")), {}), "/bin/sh ended with 1: " + std::string(200, 'x'));
}

TEST_F(Checks, ALateCommandIsKilledWithAllThatItStarted) {
  const std::string file = testing::TempDir() + "agent_exec_" + std::to_string(getpid());
  EXPECT_EQ(run(health(shell("trap '' TERM; sleep 100 & echo $! > " + file + "; echo working; sleep 100")), {}, 1s), "/bin/sh did not end in time: working");
  pid_t child = 0;
  std::ifstream(file) >> child;
  std::filesystem::remove(file);
  ASSERT_GT(child, 0);
  bool gone = false;
  for (int i = 0; i < 100 && !gone; ++i) {
    std::ifstream state("/proc/" + std::to_string(child) + "/stat");
    std::string text;
    gone = !std::getline(state, text) || text.find(") Z ") != text.npos;
    if (!gone) usleep(20'000);
  }
  EXPECT_TRUE(gone) << child;
}

}  // namespace
}  // namespace penstock
