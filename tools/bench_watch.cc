#include "tools/bench_watch.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "tools/exit_code.h"

namespace waybill::cli {
namespace {

/// Shorter: a load of few messages would be disturbed by connections. Longer: an end comes later.
constexpr std::chrono::seconds kQuiet{1};

}  // namespace

BrokerWatch::BrokerWatch(ClientOptions reach, std::chrono::milliseconds patience)
    : reach_(std::move(reach)), patience_(patience) {
  reach_.connect_timeout = std::min(reach_.connect_timeout, patience);
}

void BrokerWatch::look(std::uint64_t moved) {
  Time now = std::chrono::steady_clock::now();
  if (std::exchange(moved_, moved) != moved) since_ = now;
  if (reached_.valid()) {
    if (reached_.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return;
    asking_.reset();
    if (reached_.get()) {
      since_ = now;
    } else if (now - since_ >= patience_) {
      gone_ = since_;
    }
  } else if (now - since_ >= kQuiet) {
    auto answer = std::make_shared<std::promise<bool>>();
    reached_ = answer->get_future();
    asking_.emplace(reach_);
    asking_->async().async_connect([answer](const Reply<HelloReply>& hello) {
      answer->set_value(hello || exit_code_of(hello.error().code) != ExitCode::kUnreachable);
    });
  }
}

}  // namespace waybill::cli
