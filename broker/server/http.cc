#include "broker/server/http.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <optional>
#include <thread>

#include "broker/server/build_info.h"
#include "broker/server/log.h"
#include "broker/server/start_error.h"
#include "protocol/async/spawn.h"
#include "protocol/async/task.h"

namespace waybill {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;
using Request = http::request<http::empty_body>;
using Response = http::response<http::string_body>;

constexpr std::size_t kMaxRequest = 8 * 1024;
/// For one request and its answer; also how long an idle kept connection lives.
constexpr std::chrono::seconds kPatience{10};
/// A shard that does not answer in this time is stuck, and the metrics say so by being absent.
constexpr std::chrono::seconds kMetricsPatience{5};
constexpr std::chrono::milliseconds kAcceptPause{100};

/// A text that another thread hands over, waited for with a deadline.
struct Gathering {
  explicit Gathering(const asio::any_io_executor& executor) : arrived(executor) {}
  asio::steady_timer arrived;
  std::optional<std::string> text;
};

Response answer(const Request& request, http::status status, std::string body) {
  Response response(status, request.version());
  response.set(http::field::server, "waybill/" + std::string(kVersion));
  response.set(http::field::content_type, "text/plain; version=0.0.4; charset=utf-8");
  response.set(http::field::cache_control, "no-store");
  response.keep_alive(request.keep_alive());
  if (status == http::status::method_not_allowed) response.set(http::field::allow, "GET, HEAD");
  response.body() = std::move(body);
  response.prepare_payload();
  if (request.method() == http::verb::head) response.body().clear();
  return response;
}

}  // namespace

class HttpServer::Running {
 public:
  Running(Descriptor socket, Sources sources)
      : sources_(std::move(sources)),
        context_(std::make_shared<asio::io_context>(1)),
        acceptor_(*context_) {
    int fd = socket.get();
    error_code failure;
    tcp::endpoint bound;
    socklen_t size = static_cast<socklen_t>(bound.capacity());
    getsockname(fd, bound.data(), &size);
    acceptor_.assign(bound.protocol(), socket.release());
    acceptor_.listen(kMaxHttpConnections, failure);
    if (failure)
      throw StartError(ExitCode::kCannotBind, "HTTP: cannot listen: " + failure.message());
    spawn(context_->get_executor(), "http accept", &Running::accept_loop, this);
    thread_ = std::thread([this] {
      pthread_setname_np(pthread_self(), "http");
      context_->run();
    });
  }

  ~Running() {
    context_->stop();
    thread_.join();
  }

 private:
  static Task<void> accept_loop(Running* self);
  static Task<void> converse(Running* self, tcp::socket socket);
  Task<Response> respond(const Request& request);
  Task<Response> metrics(const Request& request);

  Sources sources_;
  std::size_t connections_ = 0;
  std::shared_ptr<asio::io_context> context_;  ///< metrics may arrive when nobody waits any more
  tcp::acceptor acceptor_;
  std::thread thread_;
};

Task<void> HttpServer::Running::accept_loop(Running* self) {
  while (true) {
    auto [failure, socket] = co_await self->acceptor_.async_accept(kNoThrow);
    if (failure) {
      asio::steady_timer pause(*self->context_, kAcceptPause);
      co_await pause.async_wait(kNoThrow);
    } else if (self->connections_ < kMaxHttpConnections) {
      ++self->connections_;
      spawn(self->context_->get_executor(), "http", &Running::converse, self, std::move(socket));
    }
  }
}

Task<void> HttpServer::Running::converse(Running* self, tcp::socket socket) {
  beast::tcp_stream stream(std::move(socket));
  beast::flat_buffer buffer(kMaxRequest);
  while (true) {
    http::request_parser<http::empty_body> parser;
    parser.header_limit(kMaxRequest);
    parser.body_limit(0);
    stream.expires_after(kPatience);
    auto [failure, size] = co_await http::async_read(stream, buffer, parser, kNoThrow);
    if (failure == http::error::end_of_stream || failure == beast::error::timeout) break;
    Response response;
    if (failure) {
      Request nothing;
      nothing.keep_alive(false);
      response = answer(nothing, http::status::bad_request,
                        "not a request this port understands: " + failure.message() + "\n");
    } else {
      auto responding = self->respond(parser.get());
      response = co_await std::move(responding);
    }
    stream.expires_after(kPatience);
    bool keep = response.keep_alive();
    auto [write_failure, written] = co_await http::async_write(stream, response, kNoThrow);
    if (failure || write_failure || !keep) break;
  }
  error_code ignored;
  stream.socket().shutdown(tcp::socket::shutdown_both, ignored);
  --self->connections_;
}

Task<Response> HttpServer::Running::respond(const Request& request) {
  if (request.method() != http::verb::get && request.method() != http::verb::head) {
    co_return answer(request, http::status::method_not_allowed,
                     "only GET: this port shows, it changes nothing\n");
  }
  std::string_view target(request.target().data(), request.target().size());
  std::string_view path = target.substr(0, target.find('?'));
  if (path == "/livez") co_return answer(request, http::status::ok, "ok\n");
  if (path == "/readyz") {
    if (sources_.ready()) co_return answer(request, http::status::ok, "ready\n");
    co_return answer(request, http::status::service_unavailable,
                     "not ready: recovering, or stopping\n");
  }
  if (path == "/metrics") {
    auto gathering = metrics(request);
    co_return co_await std::move(gathering);
  }
  co_return answer(request, http::status::not_found,
                   "nothing here; there are /livez, /readyz and /metrics\n");
}

Task<Response> HttpServer::Running::metrics(const Request& request) {
  auto gathering = std::make_shared<Gathering>(context_->get_executor());
  gathering->arrived.expires_after(kMetricsPatience);
  sources_.metrics([context = context_, gathering](std::string text) {
    asio::post(*context, [gathering, text = std::move(text)]() mutable {
      gathering->text = std::move(text);
      gathering->arrived.cancel();
    });
  });
  co_await gathering->arrived.async_wait(kNoThrow);
  if (gathering->text) co_return answer(request, http::status::ok, std::move(*gathering->text));
  co_return answer(request, http::status::service_unavailable,
                   "the shards did not answer in time; the log says what they do\n");
}

HttpServer::HttpServer(Descriptor socket, Sources sources)
    : running_(std::make_unique<Running>(std::move(socket), std::move(sources))) {}

HttpServer::~HttpServer() = default;

}  // namespace waybill
