// SimPublisher: an application that publishes. It sends what its plan says, one batch at a time to
// each partition if it has a producer id, and repeats byte for byte what it has no answer to; it
// gives up connections that answer too late, and what was under way then still arrives.
#pragma once

#include <map>
#include <optional>

#include "tests/sim/log_model.h"
#include "tests/sim/sim_world.h"

namespace waybill {

class SimPublisher final : public ClientEnd {
 public:
  SimPublisher(SimWorld& world, LogModel& log, Findings& findings, const PublisherPlan& plan,
               const SimTopic& topic, std::uint64_t seed);

  void start();
  /// No new batches, no more tricks; what is open is repeated until it is known.
  void calm();
  /// A new owner of the same durable producer begins elsewhere, while this one still sends.
  void take_over();
  /// Nothing is open whose end could still be learned.
  [[nodiscard]] bool quiet() const;

  void on_lost() override;

 private:
  struct Partition {
    std::uint64_t last_sequence = 0;    ///< confirmed
    std::optional<std::uint64_t> open;  ///< the batch that has no answer yet
    std::uint64_t sends = 0;            ///< of the open one
    std::uint64_t last_batch = 0;       ///< confirmed last, for late repetitions
    ProducerStamp last_stamp;
    bool has_last = false;
  };

  void connect();
  void opened(const Reply<OpenProducerReply>& reply);
  void try_old_epoch();
  void tick();
  void publish(std::uint32_t partition);
  void send(std::uint32_t partition, Duration extra);
  void send_plain(std::uint64_t batch);
  void repeat_last(std::uint32_t partition);
  void answered(std::uint32_t partition, std::uint64_t batch, const Reply<PublishReply>& reply,
                std::uint64_t sends);
  void answered_plain(std::uint64_t batch, std::optional<std::int64_t> expected,
                      const Reply<PublishReply>& reply);
  void resend_later(std::uint32_t partition, std::uint64_t batch);
  void watch(std::uint64_t batch);
  void read_end(std::uint32_t partition);
  /// The number of one of its partitions in the run.
  [[nodiscard]] std::uint32_t in_run(std::uint32_t partition) const {
    return topic_.first_partition + partition;
  }
  [[nodiscard]] SharedBytes encode(const SentBatch& batch) const;
  [[nodiscard]] ProducerStamp stamp(std::uint32_t partition) const;
  [[nodiscard]] bool stamped() const { return plan_.kind != PublisherKind::kPlain; }
  std::vector<SimMessage> draw_messages();

  SimWorld& world_;
  LogModel& log_;
  Findings& findings_;
  PublisherPlan plan_;
  SeededRandom random_;
  SimTopic topic_;
  ProducerId id_;
  std::uint32_t epoch_ = 1;
  std::vector<Partition> partitions_;
  std::optional<ConnectionId> connection_;
  bool ready_ = false;  ///< connected, and the durable producer is open
  bool calm_ = false;
  bool taking_over_ = false;
};

}  // namespace waybill
