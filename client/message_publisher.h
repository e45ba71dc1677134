// Turns messages into batches and sees them through.
//
//   publish → [waiting: no room] → [unresolved: topic unknown] → queue of its partition
//           → flight (one batch, stamped, at most one per partition) → receipts
//
// While a flight is out, messages of its partition gather for the next: batching without linger.
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
#include "client/publish_receipt.h"
#include "client/publish_target.h"
#include "protocol/model/message.h"
#include "protocol/model/requests.h"

namespace waybill {

class ClientCore;

class MessagePublisher {
 public:
  explicit MessagePublisher(ClientCore& core);
  MessagePublisher(const MessagePublisher&) = delete;
  MessagePublisher& operator=(const MessagePublisher&) = delete;
  ~MessagePublisher();

  void publish(PublishTarget target, Message message, Completion<PublishReceipt> completion);
  /// A new connection: what was sent on the old one goes out again.
  void connected();
  /// Completes when nothing is buffered.
  void flush(Completion<void> completion);
  /// Ends every message with `error`.
  void fail_all(const RequestError& error);

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;

  /// A message on its way into a batch.
  struct Draft {
    PublishTarget target{""};
    Message message;
    std::size_t size = 0;
    bool buffered = false;  ///< counted in buffered_bytes_
    SteadyTime deadline;
    Completion<PublishReceipt> completion;
  };
  /// A batch on its way to the broker.
  struct Flight {
    PublishPart part;
    std::vector<Draft> drafts;  ///< their messages are in the batch; completions and sizes count
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
    std::deque<Draft> drafts;
    std::optional<Flight> flight;
    std::uint64_t flight_number = 0;
    ProducerId producer;
    std::uint64_t last_sequence = 0;
    std::unique_ptr<asio::steady_timer> pause;
    bool dirty = false;
  };

  void admit(Draft draft);
  void resolved(const std::string& topic, const Reply<TopicInfo>& info);
  void enqueue(Draft draft, const TopicInfo& topic);
  PartitionIndex choose_partition(const Draft& draft, const TopicInfo& topic);
  void schedule(PartitionQueue& queue);
  void launch_scheduled();
  void launch(PartitionQueue& queue);
  bool build(PartitionQueue& queue);
  void send(PartitionQueue& queue);
  void answered(PartitionQueue& queue, Reply<PublishReply> reply);
  void succeed(PartitionQueue& queue, const PublishResult& result);
  void refuse(PartitionQueue& queue, const RequestError& error);
  void give_up(PartitionQueue& queue, const RequestError& error);
  void send_later(PartitionQueue& queue);
  void renew_producer(PartitionQueue& queue);
  void landed(PartitionQueue& queue);

  void complete(Draft& draft, Reply<PublishReceipt> reply);
  void admit_waiting();
  void watch_deadlines();
  void expire();
  template <class Drafts>
  void expire_front(Drafts& drafts, SteadyTime now);
  void finish_flush();

  ClientCore& core_;
  ProducerId producer_;
  std::size_t buffered_bytes_ = 0;
  std::size_t flights_ = 0;
  std::uint64_t last_flight_ = 0;
  std::deque<Draft> waiting_;
  std::map<std::string, std::deque<Draft>, std::less<>> unresolved_;
  std::map<QueueKey, PartitionQueue> queues_;
  std::map<TopicId, PartitionIndex> sticky_;  ///< where messages without a key go at the moment
  std::deque<QueueKey> scheduled_;
  bool launch_posted_ = false;
  asio::steady_timer expiry_;
  bool expiry_armed_ = false;
  std::vector<Completion<void>> flushes_;
};

}  // namespace waybill
