// Turns messages into batches and sees them through.
//
//   publish → inbox → [unresolved: topic unknown] → [waiting: no room] → batch of its partition
//           → flight (one batch, stamped, at most one per partition) → receipts
//
// While a flight is out, messages of its partition gather in the next batch, encoded as they come:
// batching without linger, and without an allocation for each message. What one call published is
// answered together; a batch keeps runs of messages (Claim), not messages.
// The batch and its stamp are built once and resent unchanged until the broker gives a definite
// answer or time is up, so that order holds and a resend is recognised (D20). Sequences count
// messages per partition, from 1. After an outcome that stays unknown the partition goes on under a
// new producer id, because the broker's last sequence is not known any more.
//
// Owner: ClientCore; same strand. Every message ends with a receipt or an error.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/completion.h"
#include "client/inbox.h"
#include "client/publish_receipt.h"
#include "client/publish_target.h"
#include "protocol/model/message.h"
#include "protocol/model/requests.h"
#include "protocol/record/batch_builder.h"

namespace waybill {

class ClientCore;

/// What one call publishes, and how it is answered: `receipts` collects for `all` until none is
/// open; a call of one message has `one` instead.
struct PublishCall {
  PublishTarget target{""};
  std::vector<Message> messages;
  Completion<PublishReceipt> one;
  struct Answer {
    PublishReceipts receipts;
    std::size_t open = 0;
    Completion<PublishReceipts> completion;
  };
  std::shared_ptr<Answer> all;

  PublishCall(PublishTarget to, Message message, Completion<PublishReceipt> completion);
  /// Requires messages.
  PublishCall(PublishTarget to, std::vector<Message> several,
              Completion<PublishReceipts> completion);
};

class MessagePublisher {
 public:
  explicit MessagePublisher(ClientCore& core);
  MessagePublisher(const MessagePublisher&) = delete;
  MessagePublisher& operator=(const MessagePublisher&) = delete;
  ~MessagePublisher();

  /// From any thread. True if nothing waited in the inbox: publish_waiting() is to be run on the
  /// strand.
  [[nodiscard]] bool put(PublishCall call) { return inbox_.put(std::move(call)); }
  void publish_waiting();
  /// A new connection: what was sent on the old one goes out again.
  void connected();
  /// Completes when nothing is buffered.
  void flush(Completion<void> completion);
  /// Ends every message with `error`.
  void fail_all(const RequestError& error);

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;

  /// A call of which not all messages are in batches yet.
  struct Draft {
    PublishCall call;
    SteadyTime deadline;
    std::size_t next = 0;   ///< the messages before it are in batches, or ended
    bool buffered = false;  ///< the others are counted in buffered_bytes_ all the same
  };
  /// Who hears what became of a call's messages: one of the two, as in PublishCall.
  struct Caller {
    std::shared_ptr<PublishCall::Answer> all;
    Completion<PublishReceipt> one;
  };
  /// Messages of one call that stand in a row in a batch. Small and plain: with keys there is one
  /// for nearly each message.
  struct Claim {
    std::uint32_t caller = 0;  ///< in Claims
    std::uint32_t first = 0;   ///< in the call
    std::uint32_t count = 1;
    std::uint32_t size = 0;  ///< counted in buffered_bytes_
  };
  /// Of a batch, in its order; each call once.
  struct Claims {
    std::vector<Caller> callers;
    std::vector<Claim> runs;
  };
  /// Gathers what goes to the broker together.
  struct Batch {
    BatchBuilder builder;
    Claims claims;
    SteadyTime deadline;  ///< of its first message
  };
  /// A batch on its way to the broker.
  struct Flight {
    PublishPart part;
    Claims claims;
    std::uint32_t count = 0;
    SteadyTime deadline;
    bool on_the_wire = false;  ///< an answer to it may come
    bool sent = false;
    /// A send ended without a definite answer: it may be in the log.
    bool unknown = false;
    std::uint32_t refusals = 0;
  };
  using QueueKey = std::pair<TopicId, PartitionIndex>;
  struct PartitionQueue {
    QueueKey key;
    std::deque<Batch> batches;  ///< in order; the last one is open
    std::optional<Flight> flight;
    std::uint64_t flight_number = 0;
    ProducerId producer;
    std::uint64_t last_sequence = 0;
    std::unique_ptr<asio::steady_timer> pause;
    bool dirty = false;
  };

  /// Where a topic's messages without a key go at the moment.
  struct Sticky {
    PartitionQueue* queue = nullptr;  ///< in queues_, where what is stays
    std::size_t sent = 0;             ///< bytes of batches, since they go there
  };

  void publish(PublishCall call);
  void prepare(PublishCall& call) const;
  /// False if some of it has to wait for room.
  bool admit(Draft& draft);
  void resolved(const std::string& topic, const Reply<TopicInfo>& info);
  bool gather(Draft& draft, const TopicInfo& topic);
  void place(Draft& draft, std::size_t size, const TopicInfo& topic);
  PartitionQueue& queue_of(const QueueKey& key);
  PartitionQueue& sticky_queue(TopicId topic, std::uint32_t count);
  Result<void> add(PartitionQueue& queue, Draft& draft, std::size_t size);
  static void claim_next(Claims& claims, Draft& draft, std::size_t size);
  void schedule(PartitionQueue& queue);
  void launch_scheduled();
  void launch(PartitionQueue& queue);
  void build(PartitionQueue& queue);
  void send(PartitionQueue& queue);
  void answered(PartitionQueue& queue, Reply<PublishReply> reply);
  void succeed(PartitionQueue& queue, const PublishResult& result);
  void refuse(PartitionQueue& queue, const RequestError& error);
  void give_up(PartitionQueue& queue, const RequestError& error);
  void send_later(PartitionQueue& queue);
  void renew_producer(PartitionQueue& queue);
  void landed(PartitionQueue& queue);

  [[nodiscard]] bool room_for(std::size_t size) const;
  void confirm(Caller& caller, const Claim& claim, PublishReceipt first);
  void fail(Caller& caller, const Claim& claim, std::size_t size, const RequestError& error);
  void fail(Claims claims, const RequestError& error);
  /// What is left of it.
  void fail(Draft& draft, const RequestError& error);
  void admit_waiting();
  void watch_deadlines();
  void expire();
  void expire(std::deque<Draft>& drafts, SteadyTime now);
  void finish_flush();

  ClientCore& core_;
  ProducerId producer_;
  Inbox<PublishCall> inbox_;
  std::size_t buffered_bytes_ = 0;
  std::size_t flights_ = 0;
  std::uint64_t last_flight_ = 0;
  std::deque<Draft> waiting_;
  std::size_t waiting_messages_ = 0;  ///< of waiting_
  std::map<std::string, std::deque<Draft>, std::less<>> unresolved_;
  std::map<QueueKey, PartitionQueue> queues_;
  std::map<TopicId, Sticky> sticky_;
  std::deque<QueueKey> scheduled_;
  bool launch_posted_ = false;
  asio::steady_timer expiry_;
  bool expiry_armed_ = false;
  std::vector<Completion<void>> flushes_;
};

}  // namespace waybill
