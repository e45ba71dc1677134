#include "storage/io/uring_disk.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <optional>
#include <utility>

namespace waybill {

struct UringDisk::Operation {
  enum class Kind : std::uint8_t { kWrite, kRead, kSync, kSyncDirectory, kRemove, kFailed };
  Kind kind{};
  std::shared_ptr<OpenFile> file;  ///< of kRemove: none
  Removal removal;
  bool unlinked = false;
  std::uint64_t position = 0;
  Bytes data;
  MutableBytes buffer;
  bool durable = false;
  Completion completion;
  int result = 0;                ///< bytes, or -errno
  std::optional<Error> failure;  ///< of kFailed, which was never begun
  unsigned retries = 0;

  void prepare(io_uring_sqe* entry);
  /// After a part of it: whether the kernel is to be asked for another.
  bool goes_on();
  [[nodiscard]] Result<std::size_t> outcome() const;
};

namespace {

/// The kernel does no more than this in one call anyway; the rest is a short write.
unsigned call_size(std::size_t size) {
  return static_cast<unsigned>(std::min<std::size_t>(size, 1U << 30));
}

/// A device out of tags may say "again"; saying it this often is an error.
constexpr unsigned kMaxRetries = 64;

struct RingMode {
  unsigned flags;
  const char* name;
};
/// The best first. Kernels refuse flags they do not know with EINVAL.
constexpr std::array<RingMode, 3> kModes = {{
    {IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
         IORING_SETUP_DEFER_TASKRUN,
     "deferred task work"},
    {IORING_SETUP_R_DISABLED | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
     "cooperative task work"},
    {0, "plain ring"},
}};

}  // namespace

void UringDisk::Operation::prepare(io_uring_sqe* entry) {
  const int fd = file ? file->descriptor.get() : -1;
  switch (kind) {
    case Kind::kWrite:
      io_uring_prep_write(entry, fd, data.data(), call_size(data.size()), position);
      entry->rw_flags = durable ? RWF_DSYNC : 0;
      break;
    case Kind::kRead:
      io_uring_prep_read(entry, fd, buffer.data(), call_size(buffer.size()), position);
      break;
    case Kind::kSync:
      io_uring_prep_fsync(entry, fd, IORING_FSYNC_DATASYNC);
      break;
    case Kind::kSyncDirectory:
      io_uring_prep_fsync(entry, fd, 0);
      break;
    case Kind::kRemove:
      if (!unlinked) {
        io_uring_prep_unlinkat(entry, removal.root, removal.path.c_str(), 0);
      } else {
        io_uring_prep_fallocate(entry, removal.file.get(), Removal::kGiveBack,
                                static_cast<off_t>(removal.left),
                                static_cast<off_t>(Removal::kPiece));
      }
      break;
    case Kind::kFailed:
      io_uring_prep_nop(entry);
      break;
  }
  io_uring_sqe_set_data(entry, this);
}

bool UringDisk::Operation::goes_on() {
  if (kind != Kind::kRemove) return false;
  // Once the name is gone the file is. A file system without holes takes it back with the
  // descriptor.
  if (result < 0 && !unlinked) return false;
  const bool in_pieces = result >= 0;
  unlinked = true;
  result = 0;
  return in_pieces && removal.next();
}

Result<std::size_t> UringDisk::Operation::outcome() const {
  if (failure) return *failure;
  if (result >= 0) return static_cast<std::size_t>(result);
  return os_error(-result, kind == Kind::kWrite    ? "disk write"
                           : kind == Kind::kRead   ? "disk read"
                           : kind == Kind::kSync   ? "disk sync"
                           : kind == Kind::kRemove ? "disk remove"
                                                   : "disk sync_directory");
}

/// The kernel's two queues, and what waits for room in them.
class UringDisk::Ring {
 public:
  using Operations = std::vector<std::unique_ptr<Operation>>;

  static Result<std::unique_ptr<Ring>> open(int lock_fd) {
    auto ring = std::make_unique<Ring>();
    ring->event_ = Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!ring->event_.valid()) return os_error(errno, "eventfd");
    if (int failure = ring->create(); failure != 0) return os_error(failure, "io_uring_setup");
    if (!ring->supported())
      return os_error(ENOSYS, "io_uring lacks read, write, fsync, unlinkat or fallocate");
    int failure = io_uring_register_eventfd(&ring->ring_, ring->event_.get());
    if (failure != 0) return os_error(-failure, "io_uring_register_eventfd");
    // The kernel lets go of registered files only after the last operation of the ring (S6).
    if (lock_fd >= 0) failure = io_uring_register_files(&ring->ring_, &lock_fd, 1);
    if (failure != 0) return os_error(-failure, "io_uring_register_files");
    return ring;
  }

  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  /// Waits for what the kernel works on: it writes into memory that is about to be freed.
  ~Ring() {
    if (!created_) return;
    waiting_.clear();
    while (with_kernel_ > 0) {
      wait_for_one();
      Operations done;
      drain(done);
      waiting_.clear();
    }
    io_uring_queue_exit(&ring_);
  }

  void hand_over(Operations& operations) {
    for (auto& operation : operations) waiting_.push_back(std::move(operation));
    operations.clear();
    push();
  }

  /// What has finished, without blocking; then lets the next ones in.
  Operations take_done() {
    Operations done;
    if (!bound_) return done;
    // Also with nothing of ours in flight: the kernel rings the eventfd only when its list of
    // deferred work becomes non-empty. Work left in it, its own included, would keep the next
    // completion silent for ever (seen about once in 5 000 operations).
    if (deferred_) io_uring_get_events(&ring_);
    drain(done);
    push();
    return done;
  }

  Operations wait_done() {
    Operations done = take_done();
    while (done.empty()) {
      wait_for_one();
      done = take_done();
    }
    return done;
  }

  [[nodiscard]] int event_fd() const { return event_.get(); }
  [[nodiscard]] const char* mode() const { return mode_; }

 private:
  int create() {
    int failure = 0;
    for (const RingMode& mode : kModes) {
      io_uring_params params{};
      params.flags = mode.flags;
      failure = -io_uring_queue_init_params(kEntries, &ring_, &params);
      if (failure == EINVAL) continue;
      if (failure != 0) return failure;
      created_ = true;
      mode_ = mode.name;
      deferred_ = (mode.flags & IORING_SETUP_DEFER_TASKRUN) != 0;
      disabled_ = (mode.flags & IORING_SETUP_R_DISABLED) != 0;
      return 0;
    }
    return failure;
  }

  bool supported() {
    io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
    if (probe == nullptr) return false;
    const bool all = io_uring_opcode_supported(probe, IORING_OP_READ) != 0 &&
                     io_uring_opcode_supported(probe, IORING_OP_WRITE) != 0 &&
                     io_uring_opcode_supported(probe, IORING_OP_FSYNC) != 0 &&
                     io_uring_opcode_supported(probe, IORING_OP_UNLINKAT) != 0 &&
                     io_uring_opcode_supported(probe, IORING_OP_FALLOCATE) != 0;
    io_uring_free_probe(probe);
    return all;
  }

  /// Makes the calling thread the ring's own.
  void bind() {
    if (bound_) return;
    bound_ = true;
    if (disabled_) {
      // By number: liburing 2.3 declares io_uring_enable_rings but does not export it.
      const long failure = ::syscall(__NR_io_uring_register, ring_.ring_fd,
                                     IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
      WB_ASSERT(failure == 0, "a new ring can be enabled");
    }
    // Buffered writes and syncs go through kernel workers; without a bound each would start one.
    std::array<unsigned, 2> workers = {2, 2};
    io_uring_register_iowq_max_workers(&ring_, workers.data());  // old kernels: no bound
  }

  /// Gives the kernel as many of the waiting operations as it may have.
  void push() {
    if (waiting_.empty() && io_uring_sq_ready(&ring_) == 0) return;
    bind();
    while (!waiting_.empty() && with_kernel_ < kEntries) {
      io_uring_sqe* entry = io_uring_get_sqe(&ring_);
      if (entry == nullptr) break;
      waiting_.front()->prepare(entry);
      waiting_.front().release();  // owned by the ring until drain()
      waiting_.pop_front();
      ++with_kernel_;
    }
    // EINTR, EAGAIN, EBUSY: the entries stay in the queue and go with the next call.
    const int submitted = io_uring_submit(&ring_);
    WB_ASSERT(submitted >= 0 || submitted == -EINTR || submitted == -EAGAIN || submitted == -EBUSY,
              "the ring takes what it is given, on the thread it is bound to");
  }

  void wait_for_one() {
    const int failure = io_uring_submit_and_wait(&ring_, 1);
    WB_ASSERT(failure >= 0 || failure == -EINTR || failure == -EAGAIN || failure == -EBUSY,
              "the ring can be waited for, on the thread it is bound to");
  }

  void drain(Operations& done) {
    io_uring_cqe* entry = nullptr;
    while (io_uring_peek_cqe(&ring_, &entry) == 0 && entry != nullptr) {
      std::unique_ptr<Operation> operation(static_cast<Operation*>(io_uring_cqe_get_data(entry)));
      operation->result = entry->res;
      io_uring_cqe_seen(&ring_, entry);
      --with_kernel_;
      const bool again = operation->result == -EAGAIN || operation->result == -EINTR;
      if ((again && ++operation->retries <= kMaxRetries) || operation->goes_on()) {
        waiting_.push_back(std::move(operation));
      } else {
        done.push_back(std::move(operation));
      }
    }
  }

  Descriptor event_;
  io_uring ring_{};
  const char* mode_ = "";
  bool created_ = false;
  bool deferred_ = false;
  bool disabled_ = false;
  bool bound_ = false;
  std::size_t with_kernel_ = 0;
  std::deque<std::unique_ptr<Operation>> waiting_;
};

Result<std::unique_ptr<UringDisk>> UringDisk::open(const std::string& path,
                                                   const PosixDiskOptions& options) {
  Result<Root> root = open_root(path, options.direct);
  if (!root) return root.error();
  Result<std::unique_ptr<Ring>> ring = Ring::open(options.lock_fd);
  if (!ring) return ring.error();
  return std::unique_ptr<UringDisk>(new UringDisk(std::move(*root), std::move(*ring)));
}

UringDisk::UringDisk(Root root, std::unique_ptr<Ring> ring)
    : PosixDisk(std::move(root)), ring_(std::move(ring)) {}

UringDisk::~UringDisk() = default;

void UringDisk::enqueue(std::unique_ptr<Operation> operation, std::shared_ptr<OpenFile> opened,
                        Completion completion) {
  operation->file = std::move(opened);
  operation->completion = std::move(completion);
  queued_.push_back(std::move(operation));
  ++pending_;
}

void UringDisk::write(FileHandle handle, std::uint64_t position, Bytes data, Durability durability,
                      Completion completion) {
  auto operation = std::make_unique<Operation>();
  operation->kind = Operation::Kind::kWrite;
  operation->position = position;
  operation->data = data;
  operation->durable = durability == Durability::kDurable;
  enqueue(std::move(operation), file(handle), std::move(completion));
}

void UringDisk::read(FileHandle handle, std::uint64_t position, MutableBytes buffer,
                     Completion completion) {
  auto operation = std::make_unique<Operation>();
  operation->kind = Operation::Kind::kRead;
  operation->position = position;
  operation->buffer = buffer;
  enqueue(std::move(operation), file(handle), std::move(completion));
}

void UringDisk::sync(FileHandle handle, Completion completion) {
  auto operation = std::make_unique<Operation>();
  operation->kind = Operation::Kind::kSync;
  enqueue(std::move(operation), file(handle), std::move(completion));
}

void UringDisk::sync_directory(std::string_view path, Completion completion) {
  auto operation = std::make_unique<Operation>();
  operation->kind = Operation::Kind::kSyncDirectory;
  auto directory = std::make_shared<OpenFile>();
  Result<Descriptor> opened = open_directory(path, "disk sync_directory");
  if (opened) {
    directory->descriptor = std::move(*opened);
  } else {
    operation->kind = Operation::Kind::kFailed;
    operation->failure = opened.error();
  }
  enqueue(std::move(operation), std::move(directory), std::move(completion));
}

void UringDisk::remove(std::string_view path, Completion completion) {
  auto operation = std::make_unique<Operation>();
  operation->kind = Operation::Kind::kRemove;
  Result<Removal> removal = begin_removal(path);
  if (removal) {
    operation->removal = std::move(*removal);
  } else {
    operation->kind = Operation::Kind::kFailed;
    operation->failure = removal.error();
  }
  enqueue(std::move(operation), nullptr, std::move(completion));
}

void UringDisk::submit() {
  ring_->hand_over(queued_);
}

std::size_t UringDisk::finish(std::vector<std::unique_ptr<Operation>> done) {
  for (auto& finished : done) {
    const std::unique_ptr<Operation> operation = std::move(finished);
    --pending_;
    operation->completion(operation->outcome());
  }
  return done.size();
}

std::size_t UringDisk::reap() {
  return finish(ring_->take_done());
}

std::size_t UringDisk::pending() const {
  return pending_;
}

std::size_t UringDisk::wait() {
  WB_ASSERT(pending_ > 0, "there is something to wait for");
  submit();
  return finish(ring_->wait_done());
}

int UringDisk::completion_fd() const {
  return ring_->event_fd();
}

std::string UringDisk::engine() const {
  return std::string("io_uring (") + ring_->mode() + ")";
}

std::string UringDisk::sync_method() const {
  return "RWF_DSYNC";
}

}  // namespace waybill
