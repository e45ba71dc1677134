// Gateway: where requests of the clients of one thread enter the core. It resolves names with the
// catalog, sends each part of a request to the shard that owns it, and puts the answers together.
// ClientSession is one connected client: its instance, its subscriptions and their credit (D2).
//
// Both live on the thread of the gateway's home shard. No I/O, no clock, no Asio: the server feeds
// it decoded requests, the simulator does the same without sockets.
//
// Every Done runs exactly once, on the home thread, never inside the call that took it, and
// possibly after the ClientSession is gone: capture what you need by weak reference. It runs only
// when what it says is durable (S12); if the shard stops before that, it runs with outcome_unknown.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <unordered_map>

#include "broker/core/mailbox.h"
#include "protocol/model/requests.h"

namespace waybill {

class CatalogOwner;
class ClientSession;
class Shard;

template <class T>
using Done = std::move_only_function<void(Reply<T>)>;

/// A consumer as the shards know it: the home shard of its session, then a number never reused
/// within the run of the broker.
struct ConsumerId {
  ShardIndex home;
  std::uint64_t number = 0;
  friend constexpr auto operator<=>(const ConsumerId&, const ConsumerId&) = default;
};

/// Lent right to be pushed messages.
struct Credit {
  std::int64_t messages = 0;
  std::int64_t bytes = 0;
};

/// Where the pushes of one client go. Called on the home thread.
class PushSink {
 public:
  virtual ~PushSink() = default;
  virtual void deliver(DeliverPush push) = 0;
  /// What was delivered of the partition from `first` on was taken back (D8).
  virtual void revoke(RevokePush push) = 0;
};

class Gateway {
 public:
  /// `home` is a shard of this thread; it and the mailbox outlive the gateway.
  Gateway(Shard& home, Mailbox& mailbox);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  /// Sum over the clients of this gateway, for metrics.
  [[nodiscard]] std::size_t subscription_count() const { return consumers_.size(); }

  // Called by shards, through the mailbox, for a consumer of this gateway; ignored if it is gone.
  void on_delivery(ConsumerId consumer, ShardIndex from, DeliverPush push, Credit used);
  /// The shard has work and gives back what it could not use: it may be a debt.
  void on_wanting(ConsumerId consumer, ShardIndex from, Credit rest);
  void on_revoked(ConsumerId consumer, RevokePush push);
  void on_returned(ConsumerId consumer, ShardIndex from, Credit unused);

 private:
  friend class ClientSession;
  /// One subscription: its group, and the credit its shards have of it (D2).
  struct Consumer;

  /// Lends what is in the pool: to the shards that have work if any said so, else to all alike.
  void distribute(Consumer& consumer);
  void lend(Consumer& consumer, ShardIndex shard, Credit credit);
  void recall(Consumer& consumer);
  void take_back(Consumer& consumer, ShardIndex from, Credit credit);
  Consumer* find(ConsumerId consumer);

  Shard& home_;
  Mailbox& mailbox_;
  std::uint64_t next_consumer_ = 1;
  std::map<ConsumerId, std::unique_ptr<Consumer>> consumers_;
};

class ClientSession {
 public:
  /// `hello` names the instance; `sink` outlives the session. Both refer to one connection.
  ClientSession(Gateway& gateway, HelloRequest hello, PushSink& sink);
  /// A session that was not closed is a lost connection: its leases wait for the instance to come
  /// back, then end unexplained (D5, D10).
  ~ClientSession();
  ClientSession(const ClientSession&) = delete;
  ClientSession& operator=(const ClientSession&) = delete;

  /// A clean goodbye: every lease is released, uncharged.
  void close();

  void handle(MetadataRequest request, Done<MetadataReply> done);
  void handle(CreateTopicRequest request, Done<CreateTopicReply> done);
  void handle(DescribeTopicRequest request, Done<DescribeTopicReply> done);
  void handle(DeleteTopicRequest request, Done<DeleteTopicReply> done);
  void handle(AlterTopicRequest request, Done<AlterTopicReply> done);
  void handle(PublishRequest request, Done<PublishReply> done);
  void handle(OpenProducerRequest request, Done<OpenProducerReply> done);
  void handle(ListProducersRequest request, Done<ListProducersReply> done);
  void handle(RemoveProducerRequest request, Done<RemoveProducerReply> done);
  void handle(ReadRequest request, Done<ReadReply> done);
  void handle(CreateGroupRequest request, Done<CreateGroupReply> done);
  void handle(AlterGroupRequest request, Done<AlterGroupReply> done);
  void handle(DeleteGroupRequest request, Done<DeleteGroupReply> done);
  void handle(PauseGroupRequest request, Done<PauseGroupReply> done);
  void handle(SetBrakeRequest request, Done<SetBrakeReply> done);
  void handle(ResetGroupRequest request, Done<ResetGroupReply> done);
  void handle(CheckGroupRequest request, Done<CheckGroupReply> done);
  void handle(DescribeGroupRequest request, Done<DescribeGroupReply> done);
  void handle(SubscribeRequest request, Done<SubscribeReply> done);
  void handle(UnsubscribeRequest request, Done<UnsubscribeReply> done);
  /// No answer; an error means the client broke the protocol.
  Reply<void> handle(CreditRequest request);
  void handle(SettleRequest request, Done<SettleReply> done);
  void handle(ExtendRequest request, Done<ExtendReply> done);
  void handle(ListDeadLettersRequest request, Done<ListDeadLettersReply> done);
  void handle(ShowDeadLetterRequest request, Done<ShowDeadLetterReply> done);
  void handle(EditDeadLetterRequest request, Done<EditDeadLetterReply> done);
  void handle(RedriveRequest request, Done<RedriveReply> done);
  void handle(DiscardRequest request, Done<DiscardReply> done);

 private:
  template <class R>
  void answer(Done<R> done, Reply<R> reply);
  template <class Request, class R>
  void owner_request(Request request, Done<R> done, void (CatalogOwner::*call)(Request, Done<R>));
  template <class Request, class R, class Call, class Merge>
  void ask_group_shards(Request request, Done<R> done, Call call, Merge merge);
  /// The group of that name, or the answer that there is none.
  Reply<GroupInfo> group_named(const std::string& name) const;
  Reply<TopicInfo> topic_named(const std::string& name) const;
  Gateway::Consumer* find_subscription(std::uint32_t subscription) const;
  void detach(ConsumerId consumer, bool clean);

  Gateway& gateway_;
  HelloRequest hello_;
  PushSink& sink_;
  std::unordered_map<std::uint32_t, ConsumerId> subscriptions_;
};

}  // namespace waybill
