#include "protocol/base/limits.h"
#include "tools/command_options.h"
#include "tools/message_maker.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

Checked<Moment> parse_delay(const std::string& text) {
  Checked<std::chrono::milliseconds> delay = parse_duration(text);
  if (!delay) return delay.error();
  return Moment(*delay);
}

Checked<Moment> parse_moment(const std::string& text, WallTime now) {
  if (Checked<Moment> delay = parse_delay(text)) return delay;
  Checked<WallTime> time = parse_time(text, now);
  if (time) return Moment(*time);
  return Problem{
      fmt::format("'{}' is neither a duration, as 30s or 2h, nor a time, as "
                  "2026-03-01T12:30:00Z",
                  escaped_line(text))};
}

void add_policy_options(CLI::App* app, TopicChanges& policy) {
  add_parsed(app, "--retention", policy.retention, parse_duration,
             "Keep messages so long, and until every group is done with them; 7d", "DURATION");
  add_parsed(app, "--drop-after", policy.drop_after, parse_duration,
             "Drop what is older, even if a group is not done with it; 0s: never", "DURATION");
  app->add_option("--drop-above", policy.drop_above,
                  "Drop the oldest of a partition that has more bytes, even if a group is not done "
                  "with it; 0: never")
      ->transform(CLI::AsSizeValue(false))
      ->type_name("SIZE");
  add_choice<std::optional<Cleanup>, Cleanup>(
      app, "--cleanup", policy.cleanup,
      {{"delete", Cleanup::kDelete},
       {"compact", Cleanup::kCompact},
       {"compact,delete", Cleanup::kCompactAndDelete}},
      "What goes once every group is done with it: what is older than the retention, or (compact) "
      "what has a later message of its key, whatever its age, or both; delete");
  add_parsed(app, "--tombstone-delay", policy.tombstone_delay, parse_duration,
             "With compact: how long a message without a value is kept, which says that its key is "
             "no more; 1d",
             "DURATION");
}

}  // namespace

void add_topic_commands(CLI::App& app, CommandSink& sink) {
  CLI::App* family = add_family(app, "topic", "Create, change, list, describe and delete topics");
  auto [create, created] = add_command<TopicCreate>(
      *family, "create", "Create a topic; fine if it exists with as many partitions", sink);
  create->add_option("name", created->name, "Its name")->required();
  create->add_option("--partitions", created->partitions, "How many, fixed for ever")
      ->check(CLI::Range(1U, limits::kMaxPartitions))
      ->capture_default_str();
  add_policy_options(create, created->policy);
  auto [set, changed] = add_command<TopicSet>(
      *family, "set", "Change how long a topic keeps its messages; what is not said stays", sink);
  set->add_option("name", changed->name, "The topic")->required();
  add_policy_options(set, changed->policy);
  add_command<TopicList>(*family, "list", "List all topics", sink);
  auto [describe, described] = add_command<TopicDescribe>(
      *family, "describe", "Show a topic's partitions, offsets and groups", sink);
  describe->add_option("name", described->name, "The topic")->required();
  auto [remove, removed] =
      add_command<TopicDelete>(*family, "delete", "Delete a topic and its messages", sink);
  remove->add_option("name", removed->name, "The topic")->required();
  remove->add_flag("--yes", removed->yes, "Do not ask");
}

void add_publish_command(CLI::App& app, CommandSink& sink) {
  auto [publish, options] = add_command<Publish>(
      app, "publish", "Publish lines, or JSON lines, from a file or standard input", sink);
  publish->add_option("topic", options->topic, "The topic")->required();
  publish->add_option("file", options->file, "The file; - is standard input")
      ->capture_default_str();
  auto* json_lines = publish->add_flag("--jsonl", options->json_lines,
                                       R"(Each line is {"key":…, "value":…, "headers":{…}}; )"
                                       R"("key_base64" and "value_base64" for bytes)");
  publish
      ->add_option("--key-jq", options->key_jq,
                   "A jq path that finds the key in a JSON value; null: no key")
      ->type_name("PATH");
  publish->add_option("--key-separator", options->key_separator, "A line is KEY<SEP>VALUE")
      ->type_name("SEP")
      ->excludes(json_lines);
  add_repeated(publish, "--header", options->headers, parse_header,
               "Add a header to every message; may be repeated", "NAME=VALUE");
  publish->add_option("--partition", options->partition, "Instead of the one the key decides");
  add_compression(publish, options->compression);
  auto* delay = add_parsed(publish, "--delay", options->not_before, parse_delay,
                           "Deliver no sooner than so long after it was read", "DURATION");
  WallTime now = sink.now;
  add_parsed(
      publish, "--at", options->not_before,
      [now](const std::string& text) { return parse_time(text, now); }, "Deliver no sooner", "TIME")
      ->excludes(delay);
  add_parsed(
      publish, "--expires", options->expires,
      [now](const std::string& text) { return parse_moment(text, now); },
      "Do not deliver later; what becomes of it then is the group's --on-expiry", "DURATION|TIME");
}

void add_producer_commands(CLI::App& app, CommandSink& sink) {
  CLI::App* family = add_family(app, "producer", "List and remove durable producers");
  add_command<ProducerList>(*family, "list", "List all, with the last sequence of each partition",
                            sink);
  auto [remove, removed] = add_command<ProducerRemove>(
      *family, "remove", "Forget a producer that will never publish again", sink);
  remove->add_option("id", removed->id, "Its id, as 'waybill producer list' shows it")->required();
  remove->add_flag("--yes", removed->yes, "Do not ask");
}

void add_consume_command(CLI::App& app, CommandSink& sink) {
  struct Both {
    Consume consume;
    Read read;
    std::optional<GroupStart> from;
  };
  auto both = std::make_shared<Both>();
  CLI::App* consume = app.add_subcommand(
      "consume", "Take messages as a member of a group, or read a topic without one");
  consume->fallthrough();
  consume->footer(
      "With --exec, a program runs per message: stdin is the value, WAYBILL_TOPIC, _GROUP,\n"
      "_PARTITION, _OFFSET, _TIMESTAMP, _KEY, _DELIVERY, _FAILURES, _REDRIVE and\n"
      "WAYBILL_HEADER_<NAME> say the rest.\n"
      "Exit 0 acks, 75 is a transient failure, 65 an invalid message (a dead letter at once),\n"
      "anything else a failure. The end of stderr is its detail; 'code: …' there names its code.\n"
      "With --worker, one program per --concurrency keeps running: a line of JSON in per message,\n"
      R"(one out: {"id":…, "result":"ack|retry|dead_letter|release", "class":…, "code":…, )"
      R"("detail":…, "after_ms":…}.)");
  auto* group = consume->add_option("group", both->consume.group, "The group");
  auto* topic = consume->add_option("--topic", both->read.topic, "Read this topic without a group")
                    ->excludes(group);
  WallTime now = sink.now;
  auto* from = add_parsed(
      consume, "--from", both->from,
      [now](const std::string& text) { return parse_start(text, now); }, "Where to begin reading",
      "earliest|latest|OFFSET|TIME");
  from->needs(topic);
  topic->needs(from);
  auto* exec = consume->add_option("--exec", both->consume.exec, "Run this for every message")
                   ->type_name("COMMAND")
                   ->needs(group);
  consume->add_option("--worker", both->consume.worker, "Keep this running, one line per message")
      ->type_name("COMMAND")
      ->needs(group)
      ->excludes(exec);
  consume->add_option("--concurrency", both->consume.concurrency, "Programs at a time")
      ->check(CLI::Range(1, 1000))
      ->needs(group)
      ->capture_default_str();
  consume->add_flag("--exit-at-end", both->consume.exit_at_end,
                    "End when nothing is ready, leased or delayed (a group), or at the topic's "
                    "end as it is now; with 1 or 4 if the group stands still before");
  consume->callback([both, &sink] {
    if (!both->from && both->consume.group.empty()) {
      throw CLI::RequiredError("a group, or --topic and --from,");
    }
    both->read.exit_at_end = both->consume.exit_at_end;
    if (both->from) {
      both->read.from = *both->from;
      sink.chosen = both->read;
    } else {
      sink.chosen = both->consume;
    }
  });
}

void add_token_commands(CLI::App& app, CommandSink& sink) {
  CLI::App* family = add_family(app, "token", "Make tokens for the users of a broker");
  auto [make, made] = add_command<TokenNew>(
      *family, "new", "Make a user's token, and the line for the broker's users file", sink);
  make->add_option("user", made->user, "Whose token")->required();
  auto parse = [rights = &made->rights](const std::vector<std::string>& texts) {
    for (const std::string& text : texts) {
      Reply<Grant> right = parse_grant(text);
      if (!right) {
        throw CLI::ValidationError("rights", escaped_line(right.error().explanation));
      }
      rights->push_back(std::move(*right));
    }
  };
  make->add_option_function<std::vector<std::string>>(
          "rights", parse,
          "publish, consume, view, fix, redrive, discard, admin; all but admin also for a topic or "
          "group, as publish:orders, or for all of one beginning, as fix:billing.*")
      ->type_name("RIGHT");
  make->add_option("--out", made->file,
                   "Write the token there, into a new file that only you may read, and do not "
                   "print it")
      ->type_name("FILE");
  make->footer(
      "The token is not kept anywhere: the broker has only its SHA-256. The user says it with\n"
      "--token-file or WAYBILL_TOKEN, and their name with --user or WAYBILL_USER. A broker reads\n"
      "its users file at the start.");
}

}  // namespace waybill::cli
