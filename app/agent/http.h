// Requests over HTTP and TLS: libcurl on the agent's loop.
#pragma once
#include <map>

#include "app/agent/loop.h"

namespace penstock {

// The part of libcurl that requests share: sockets, one timer, the trusted authorities.
class HttpClient {
 public:
  static Result<std::unique_ptr<HttpClient>> make(Loop& loop);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // `done` is called once with a CURLcode; remove() before that cancels.
  void add(void* easy, std::function<void(int)> done);
  void remove(void* easy);

 private:
  explicit HttpClient(Loop& loop) : loop_(loop) {}
  static int on_socket(void* easy, int fd, int what, void* client, void* socket);
  static int on_timer(void* multi, long timeout_ms, void* client);
  void act(int fd, int events);

  Loop& loop_;
  void* multi_ = nullptr;
  std::map<int, Source> sockets_;
  Source timer_;
  std::map<void*, std::function<void(int)>> requests_;
};

}  // namespace penstock
