#include <curl/curl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>

#include "app/agent/check.h"
#include "app/agent/http.h"

namespace penstock {
namespace {

constexpr size_t most_body = 64u << 10;  // bytes that are searched for the text
constexpr long buffer_size = 4096;

class Http : public Check {
 public:
  Http(CheckContext& context, const HttpCheck& check, const Target& target, CheckEnd end) : client_(context.http), check_(check), endpoint_(endpoint_text(target)), mark_(target.mark), end_(std::move(end)) {
    easy_ = curl_easy_init();
    const std::string literal = target.address.is_v4() ? target.address.text() : "[" + target.address.text() + "]";
    const std::string host = check.host.empty() ? literal : check.host;
    connect_to_ = curl_slist_append(nullptr, fmt::format("::{}:{}", literal, target.port).c_str());
    headers_ = curl_slist_append(nullptr, ("Host: " + host).c_str());
    headers_ = curl_slist_append(headers_, "Connection: close");
    set(CURLOPT_URL, fmt::format("{}://{}:{}{}", check.tls ? "https" : "http", host, target.port, check.path).c_str());
    set(CURLOPT_CONNECT_TO, connect_to_);
    set(CURLOPT_HTTPHEADER, headers_);
    set(CURLOPT_USERAGENT, "penstock");
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_PATH_AS_IS, 1L);
    set(CURLOPT_NOPROXY, "*");
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_FRESH_CONNECT, 1L);  // each check is one of the whole way
    set(CURLOPT_FORBID_REUSE, 1L);
    set(CURLOPT_SSL_SESSIONID_CACHE, 0L);
    set(CURLOPT_BUFFERSIZE, buffer_size);
    set(CURLOPT_ERRORBUFFER, error_);
    set(CURLOPT_SOCKOPTDATA, this);
    set(CURLOPT_SOCKOPTFUNCTION, +[](void* self, curl_socket_t fd, curlsocktype) {
      const uint32_t mark = static_cast<Http*>(self)->mark_;
      return mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0 ? CURL_SOCKOPT_ERROR : CURL_SOCKOPT_OK;
    });
    set(CURLOPT_WRITEDATA, this);
    set(CURLOPT_WRITEFUNCTION, +[](char* data, size_t, size_t size, void* self) { return static_cast<Http*>(self)->receive(data, size); });
    if (!check.verify) {
      set(CURLOPT_SSL_VERIFYPEER, 0L);
      set(CURLOPT_SSL_VERIFYHOST, 0L);
    } else if (!check.authorities.empty()) {
      set(CURLOPT_CAINFO, check_.authorities.c_str());
      set(CURLOPT_CAPATH, nullptr);
    }
    client_.add(easy_, [this](int code) { done(code); });
  }
  ~Http() override {
    client_.remove(easy_);
    curl_easy_cleanup(easy_);
    curl_slist_free_all(headers_);
    curl_slist_free_all(connect_to_);
  }
  std::string late() const override {
    curl_off_t connected = 0, secured = 0;
    curl_easy_getinfo(easy_, CURLINFO_CONNECT_TIME_T, &connected);
    curl_easy_getinfo(easy_, CURLINFO_APPCONNECT_TIME_T, &secured);
    if (check_.tls && secured == 0) return fmt::format("no TLS connection to {} came about", endpoint_);
    if (connected == 0) return fmt::format("no answer from {} to a connection attempt", endpoint_);
    return fmt::format("no answer from {} to GET {}", endpoint_, check_.path);
  }

 private:
  template <class V>
  void set(CURLoption option, V value) {
    curl_easy_setopt(easy_, option, value);
  }

  // Less than `size`: enough is known, the rest is not wanted.
  size_t receive(const char* data, size_t size) {
    if (!check_.body.empty()) body_.append(data, std::min(size, most_body - body_.size()));
    enough_ = body_found() || body_.size() >= most_body;
    return enough_ ? 0 : size;
  }
  bool body_found() const { return body_.find(check_.body) != std::string::npos; }

  void done(int code) {
    if (code == CURLE_WRITE_ERROR && enough_) code = CURLE_OK;
    if (code != CURLE_OK) return finish(fmt::format("{}: {}", endpoint_, error_[0] ? error_ : curl_easy_strerror(static_cast<CURLcode>(code))));
    long status = 0;
    curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
    if (std::ranges::none_of(check_.status, [&](const NumberRange& r) { return status >= r.first && status <= r.last; })) return finish(fmt::format("GET {} of {} was answered with {}", check_.path, endpoint_, status));
    if (!body_found()) return finish(fmt::format("GET {} of {} was answered with {}, but without the text `{}`", check_.path, endpoint_, status, check_.body));
    finish("");
  }
  void finish(std::string error) {
    const CheckEnd end = std::move(end_);
    end(std::move(error));
  }

  HttpClient& client_;
  HttpCheck check_;
  std::string endpoint_, body_;
  uint32_t mark_;
  CheckEnd end_;
  CURL* easy_ = nullptr;
  curl_slist *headers_ = nullptr, *connect_to_ = nullptr;
  bool enough_ = false;
  char error_[CURL_ERROR_SIZE] = {};
};

}  // namespace

std::unique_ptr<Check> start_http(CheckContext& context, const HttpCheck& check, const Target& target, CheckEnd end) { return std::make_unique<Http>(context, check, target, std::move(end)); }

}  // namespace penstock
