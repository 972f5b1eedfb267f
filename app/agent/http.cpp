#include "app/agent/http.h"

#include <curl/curl.h>
#include <sys/epoll.h>

namespace penstock {

Result<std::unique_ptr<HttpClient>> HttpClient::make(Loop& loop) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  std::unique_ptr<HttpClient> client(new HttpClient(loop));
  client->multi_ = ready == CURLE_OK ? curl_multi_init() : nullptr;
  if (!client->multi_) return fail("libcurl cannot be set up");
  curl_multi_setopt(client->multi_, CURLMOPT_SOCKETFUNCTION, &HttpClient::on_socket);
  curl_multi_setopt(client->multi_, CURLMOPT_SOCKETDATA, client.get());
  curl_multi_setopt(client->multi_, CURLMOPT_TIMERFUNCTION, &HttpClient::on_timer);
  curl_multi_setopt(client->multi_, CURLMOPT_TIMERDATA, client.get());
  return client;
}

HttpClient::~HttpClient() {
  if (multi_) curl_multi_cleanup(multi_);
}

void HttpClient::add(void* easy, std::function<void(int)> done) {
  requests_[easy] = std::move(done);
  curl_multi_add_handle(multi_, easy);  // asks for a timer; nothing ends in here
}

void HttpClient::remove(void* easy) {
  if (requests_.erase(easy)) curl_multi_remove_handle(multi_, easy);
}

int HttpClient::on_socket(void*, int fd, int what, void* self, void*) {
  auto& client = *static_cast<HttpClient*>(self);
  if (what == CURL_POLL_REMOVE) {
    client.sockets_.erase(fd);
    return 0;
  }
  const uint32_t events = (what & CURL_POLL_IN ? static_cast<uint32_t>(EPOLLIN) : 0u) | (what & CURL_POLL_OUT ? static_cast<uint32_t>(EPOLLOUT) : 0u);
  if (Source& source = client.sockets_[fd]; source)
    client.loop_.change(source, events);
  else
    source = client.loop_.io(fd, events, [&client, fd](uint32_t ready) {
      client.act(fd, (ready & EPOLLIN ? CURL_CSELECT_IN : 0) | (ready & EPOLLOUT ? CURL_CSELECT_OUT : 0) | (ready & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0));
    });
  return 0;
}

int HttpClient::on_timer(void*, long timeout_ms, void* self) {
  auto& client = *static_cast<HttpClient*>(self);
  if (timeout_ms < 0) {
    client.timer_.reset();
    return 0;
  }
  const Moment at = client.loop_.now() + std::chrono::milliseconds(timeout_ms);
  if (client.timer_)
    client.loop_.again(client.timer_, at);
  else
    client.timer_ = client.loop_.at(at, [&client] { client.act(CURL_SOCKET_TIMEOUT, 0); }, true);
  return 0;
}

void HttpClient::act(int fd, int events) {
  int running = 0;
  curl_multi_socket_action(multi_, fd, events, &running);
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const auto request = requests_.find(message->easy_handle);
    if (request == requests_.end()) continue;
    const int code = message->data.result;
    const std::function<void(int)> done = std::move(request->second);
    done(code);  // may remove this handle, and others
  }
}

}  // namespace penstock
