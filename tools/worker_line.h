// What a worker (`consume --worker`) answers for a message, as one line of JSON:
//
//   {"id": "orders/0/17", "result": "ack"}
//   {"id": "orders/0/18", "result": "retry", "class": "transient", "code": "db_down", "after_ms":
//   500}
//
// result: ack, retry, dead_letter or release. class: transient, failed (the default) or invalid: a
// retry that is invalid becomes a dead letter at once, by the group's policy.
#pragma once

#include <string>
#include <string_view>

#include "client/delivery.h"
#include "tools/problem.h"

namespace waybill::cli {

struct WorkerAnswer {
  std::string id;
  SettleOptions settle;
};

Checked<WorkerAnswer> parse_worker_answer(std::string_view line);

}  // namespace waybill::cli
