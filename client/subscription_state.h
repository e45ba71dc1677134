// What stands behind a Subscription and its deliveries.
//
//   push → held (lease extended) and ready → handed out → settlement queued → sent → answered
//
// Nothing is allocated for a message: the messages of a push lie in one vector beside its bytes, a
// delivery shares the push, and settlements of neighbours join as they come.
//
// Leases are kept over a lost connection: after subscribing again the state asks for all of them at
// once (extend), forgets those that are lost, and only then grants credit for the rest, so that a
// new delivery of a lost lease never meets its old one. Settlements that were not answered are sent
// again; "already settled" is success (D5).
//
// Runs on the client's strand, except for the few calls marked so. Owners: ClientCore until the
// subscription ended, the Subscription, and every delivery.
#pragma once

#include <algorithm>
#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "client/client_core.h"
#include "client/completion.h"
#include "client/delivery.h"
#include "client/inbox.h"
#include "client/subscription.h"
#include "protocol/model/requests.h"
#include "protocol/record/batch_view.h"

namespace waybill {

struct HeldPush;

/// One leased message, where it lies in what was pushed. Immutable once it was handed out, but for
/// the flags.
struct HeldDelivery {
  HeldPush* push = nullptr;
  RecordView record;
  LeaseToken token;
  std::uint32_t number = 1;
  std::uint32_t failures = 0;
  std::uint32_t redrive = 0;
  std::uint32_t credit_bytes = 0;
  bool held = false;        ///< as far as we know the lease is ours; on the strand
  bool handed_out = false;  ///< on the strand
  bool settled = false;     ///< through std::atomic_ref, as the next
  bool lost = false;
  std::unique_ptr<Message> message;  ///< made when somebody asks; the user's thread

  [[nodiscard]] Offset offset() const { return record.offset; }
  [[nodiscard]] bool is_lost() { return std::atomic_ref(lost).load(); }
};

/// The messages of one push, which share its memory. Lives as long as any of its deliveries.
struct HeldPush {
  PartitionIndex partition;
  std::vector<SharedBytes> batches;
  std::vector<BatchReader> readers;    ///< what was expanded lies in them
  std::vector<HeldDelivery> messages;  ///< in the order of their offsets; fixed once it is held
  std::size_t held = 0;                ///< of the messages
  std::uint64_t number = 0;            ///< its key in held_

  [[nodiscard]] std::span<HeldDelivery> from(Offset first) {
    auto found = std::ranges::lower_bound(messages, first, {}, &HeldDelivery::offset);
    return {found, messages.end()};
  }
};

class SubscriptionState : public std::enable_shared_from_this<SubscriptionState> {
 public:
  using Milliseconds = std::chrono::milliseconds;

  SubscriptionState(std::shared_ptr<ClientCore> core, std::uint32_t number, std::string group,
                    SubscribeOptions options);

  // --- any thread ---

  [[nodiscard]] const std::shared_ptr<ClientCore>& core() const { return core_; }
  [[nodiscard]] const std::string& group_name() const { return group_name_; }
  /// As the first subscribe answered; fixed before anybody sees the subscription.
  [[nodiscard]] const GroupInfo& group() const { return group_; }
  [[nodiscard]] const std::string& topic() const { return topic_; }
  std::uint64_t next_waiter() { return ++last_waiter_; }
  /// Settles a delivery that was handed out. The first settlement counts. Without `options`: ack.
  void settle_from_user(const std::shared_ptr<HeldDelivery>& held,
                        std::unique_ptr<SettleOptions> options, Completion<void> completion);
  /// A delivery that was handed out was destroyed without being settled (D7).
  void dropped(const std::shared_ptr<HeldDelivery>& held);

  // --- on the strand ---

  /// Subscribes for the first time.
  void join(Completion<Subscription> completion);
  void connected();
  void disconnected();
  void deliver(const DeliverPush& push);
  /// The broker took back what we hold of a partition from an offset on (D8).
  void revoke(const RevokePush& push);
  void next(std::uint64_t waiter, std::optional<Milliseconds> wait,
            Completion<Delivery> completion);
  /// At least one, at most `most`.
  void next_batch(std::uint64_t waiter, std::size_t most, std::optional<Milliseconds> wait,
                  Completion<std::vector<Delivery>> completion);
  void cancel_next(std::uint64_t waiter, const RequestError& error);
  void extend_now() { extend(); }
  void close(Completion<void> completion);
  /// The end, for a reason: everything that waits completes with it.
  void end(const RequestError& reason);

 private:
  enum class Phase : std::uint8_t { kJoining, kLive, kClosing, kEnded };
  /// Ordered as they are reported: by partition, token, offset.
  using HeldKey = std::tuple<PartitionIndex, LeaseToken, Offset>;
  struct Waiter {
    Completion<Delivery> one{};
    Completion<std::vector<Delivery>> batch{};  ///< or this one
    std::size_t most = 1;
    std::unique_ptr<asio::steady_timer> timer{};

    void fail(const RequestError& error) { one ? one(error) : batch(error); }
  };
  /// Messages of a push that were not handed out.
  struct Ready {
    std::shared_ptr<HeldPush> push;
    std::size_t next = 0;
  };
  /// What a user said about a delivery.
  struct Ending {
    std::shared_ptr<HeldDelivery> held;
    std::unique_ptr<SettleOptions> options;  ///< null: ack
    Completion<void> completion;
  };
  struct PendingSettlement {
    Settlement settlement;
    std::vector<Completion<void>> completions;
  };

  static HeldKey key_of(const HeldDelivery& held) {
    return {held.push->partition, held.token, held.offset()};
  }

  void try_join();
  void subscribe_on(const std::shared_ptr<BrokerConnection>& connection);
  void subscribed(Reply<SubscribeReply> reply);
  void reclaimed();
  void grant(std::uint32_t messages, std::uint64_t bytes);
  using Ranges = std::vector<GrantedRange>;
  static Result<void> take_batch(const Ranges& ranges, Bytes batch, HeldPush& taken);
  void refuse_missing(const Ranges& ranges, const HeldPush& taken);
  void refuse(PartitionIndex partition, LeaseToken token, OffsetRange range);

  void wait_for_delivery(std::uint64_t waiter, std::optional<Milliseconds> wait, Waiter waiting);
  void hand_out();
  std::shared_ptr<HeldDelivery> take_ready();
  void forget(HeldDelivery& held);
  void no_longer_held(HeldDelivery& held);
  void forget_ready_of(PartitionIndex partition);
  void settle_waiting();
  void settle(HeldDelivery& held, std::unique_ptr<SettleOptions> options,
              Completion<void> completion);
  bool join_last(const HeldDelivery& acked, Completion<void>& completion);
  void queue_settlement(Settlement settlement, Completion<void> completion);
  void schedule_settle();
  void send_settlements();
  void settled(const Reply<SettleReply>& reply);
  void settle_again();
  std::vector<PendingSettlement> take_merged();
  void return_credit(std::int64_t messages, std::uint64_t bytes);

  void arm_extension();
  void extend();
  void extend_from(const HeldKey& from);
  void extended(const std::vector<LeaseExtension>& asked, const std::optional<HeldKey>& rest,
                const Reply<ExtendReply>& reply);
  void all_extended();
  void lose(const LeaseExtension& lease);
  void lose(HeldDelivery& held);
  void leave_if_done();

  std::shared_ptr<ClientCore> core_;
  const std::uint32_t number_;
  const std::string group_name_;
  const SubscribeOptions options_;
  Phase phase_ = Phase::kJoining;
  bool subscribed_ = false;  ///< on the current connection
  std::optional<RequestError> ended_;
  Completion<Subscription> joined_;
  GroupInfo group_;
  std::string topic_;

  std::map<std::uint64_t, std::shared_ptr<HeldPush>> held_;  ///< those with held messages
  std::uint64_t last_push_ = 0;
  std::size_t held_count_ = 0;  ///< messages
  std::deque<Ready> ready_;
  Inbox<Ending> endings_;
  std::size_t out_ = 0;            ///< handed out and not settled
  std::set<PartitionIndex> busy_;  ///< partition ordering: one of it is out
  std::atomic<std::uint64_t> last_waiter_ = 0;
  std::map<std::uint64_t, Waiter> waiters_;  ///< in the order of their calls

  std::deque<PendingSettlement> unsent_;
  std::vector<PendingSettlement> settling_;  ///< sent, not answered
  bool settle_scheduled_ = false;
  asio::steady_timer settle_timer_;
  std::uint32_t credit_messages_due_ = 0;
  std::uint64_t credit_bytes_due_ = 0;

  Milliseconds lease_{0};
  asio::steady_timer extension_timer_;
  bool extension_armed_ = false;
  bool extending_ = false;
  bool reclaiming_ = false;  ///< subscribed again; asking which leases are still ours
  asio::steady_timer rejoin_timer_;
  bool leaving_ = false;  ///< unsubscribe was sent
  std::vector<Completion<void>> closes_;
};

}  // namespace waybill
