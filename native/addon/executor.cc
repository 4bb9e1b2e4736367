#include "executor.h"

#include "arguments.h"
#include "environment.h"

namespace fpdt::addon {
namespace {

struct Loading {
  std::shared_ptr<Backend> backend;
  Program program;
  const Budgets& budgets;
};

}  // namespace

// One run's promise, on its way through a lane's thread and back.
struct ExecutorObject::Completion {
  ExecutorObject& object;  // kept alive by Ref until the promise is settled
  Napi::Promise::Deferred promise;
  Outcome outcome;
};

Napi::Function ExecutorObject::define(Napi::Env env) {
  using Self = ExecutorObject;
  return DefineClass(env, "Executor",
                     {InstanceMethod<&Self::run>("run"), InstanceMethod<&Self::cancel>("cancel"), InstanceMethod<&Self::reset>("reset"), InstanceMethod<&Self::take_spans>("takeSpans"),
                      InstanceMethod<&Self::read>("read"), InstanceMethod<&Self::write>("write"), InstanceMethod<&Self::first_not_finite>("firstNotFinite"), InstanceMethod<&Self::memory>("memory"),
                      InstanceMethod<&Self::poison>("poison"), InstanceMethod<&Self::touched>("touched"), InstanceMethod<&Self::close>("close"), InstanceAccessor<&Self::origin_ns>("originNs")});
}

Napi::Value ExecutorObject::make(Napi::Env env, std::shared_ptr<Backend> backend, Program program, const Budgets& budgets) {
  Loading loading{std::move(backend), std::move(program), budgets};
  return Environment::of(env).executor.New({Napi::External<Loading>::New(env, &loading)});
}

ExecutorObject::ExecutorObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ExecutorObject>(info) {
  guarded(info.Env(), [&] {
    if (!info[0].IsExternal()) throw Error("argument", "an Executor comes from Device.load");
    Loading& loading = *info[0].As<Napi::External<Loading>>().Data();
    backend_ = loading.backend;
    executor_ = std::make_unique<Executor>(backend_, std::move(loading.program), loading.budgets);
    Environment::of(info.Env()).open.insert(this);
    // The collector cannot see the arenas; told of them, it frees executors that nobody holds in time.
    Napi::MemoryManagement::AdjustExternalMemory(info.Env(), static_cast<int64_t>(executor_->memory_bytes()));
  });
}

ExecutorObject::~ExecutorObject() { shut(); }

void ExecutorObject::shut() {
  if (!executor_) return;
  const auto bytes = static_cast<int64_t>(executor_->memory_bytes());
  executor_.reset();
  backend_.reset();
  Environment::of(Env()).open.erase(this);
  Napi::MemoryManagement::AdjustExternalMemory(Env(), -bytes);
}

Executor& ExecutorObject::executor() const {
  if (!executor_) throw Error("closed", "the executor is closed, by itself or with its device: load the program again");
  return *executor_;
}

Napi::Value ExecutorObject::run(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int64_t last = static_cast<int64_t>(executor().program().length) - 1;
    const int64_t until = info[0].IsUndefined() ? last : integer(info[0], "until", -1, UINT32_MAX);
    const std::span<const double> step = items<double>(info[1], "step");

    Environment& environment = Environment::of(info.Env());
    auto completion = std::make_unique<Completion>(*this, Napi::Promise::Deferred::New(info.Env()), Outcome{});
    const Napi::Value promise = completion->promise.Promise();
    executor().run(until, step, [completion = completion.get(), finished = environment.finished](const Outcome& outcome) {
      completion->outcome = outcome;
      napi_call_threadsafe_function(finished, completion, napi_tsfn_nonblocking);  // its queue has no limit
    });
    completion.release();  // settle owns it: it runs on this thread and so not before we return
    Ref();
    if (environment.running++ == 0) napi_ref_threadsafe_function(info.Env(), environment.finished);
    return promise;
  });
}

void ExecutorObject::settle(napi_env raw, napi_value, void*, void* data) {
  const std::unique_ptr<Completion> completion(static_cast<Completion*>(data));
  if (!raw) return;  // the environment is going away, and its promises with it
  const Napi::Env env(raw);
  const Napi::HandleScope scope(env);
  ExecutorObject& object = completion->object;
  const Outcome& outcome = completion->outcome;

  if (outcome.failure) {
    Napi::Error error = js_error(env, outcome.failure->code, outcome.failure->message);
    error.Set("entry", Napi::Number::New(env, outcome.failure->entry));
    error.Set("rank", Napi::Number::New(env, outcome.failure->rank));
    error.Set("reached", Napi::Number::New(env, static_cast<double>(outcome.reached)));
    completion->promise.Reject(error.Value());
  } else if (outcome.stopped && !object.executor_) {
    completion->promise.Reject(js_error(env, "stopped", "the executor was closed while its program ran; it reached entry " + std::to_string(outcome.reached)).Value());
  } else {
    Napi::Object result = Napi::Object::New(env);
    result.Set("reached", static_cast<double>(outcome.reached));
    result.Set("stopped", Napi::Boolean::New(env, outcome.stopped));
    completion->promise.Resolve(result);
  }

  Environment& environment = Environment::of(env);
  if (--environment.running == 0) napi_unref_threadsafe_function(env, environment.finished);
  object.Unref();
}

void ExecutorObject::cancel(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] { executor().cancel(); });
}

void ExecutorObject::reset(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] { executor().reset(); });
}

Napi::Value ExecutorObject::take_spans(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const std::vector<Span> spans = executor().take_spans();
    Napi::Float64Array rows = Napi::Float64Array::New(info.Env(), 4 * spans.size());
    double* row = rows.Data();
    for (const Span& span : spans) {
      *row++ = span.rank;
      *row++ = span.entry;
      *row++ = span.start_ns;
      *row++ = span.end_ns;
    }
    return rows;
  });
}

Napi::Value ExecutorObject::origin_ns(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] { return Napi::Number::New(info.Env(), executor().origin_ns()); });
}

Napi::Value ExecutorObject::read(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const Tier from = tier(info[0]);
    Memory& memory = executor().memory();
    const auto rank = static_cast<int>(integer(info[1], "rank", 0, kMostRanks));
    const double offset = number(info[2], "offset");
    // Before anything as long as a mistaken `bytes` is allocated.
    const auto bytes = static_cast<size_t>(integer(info[3], "bytes", 0, static_cast<int64_t>(memory.bytes(from))));
    Napi::Uint8Array result = Napi::Uint8Array::New(info.Env(), bytes);
    memory.read(from, rank, offset, result.Data(), bytes);
    return result;
  });
}

void ExecutorObject::write(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    const std::span<std::byte> data = bytes(info[3], "data");
    executor().memory().write(tier(info[0]), static_cast<int>(integer(info[1], "rank", 0, kMostRanks)), number(info[2], "offset"), data.data(), data.size());
  });
}

Napi::Value ExecutorObject::first_not_finite(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const auto rank = static_cast<int>(integer(info[1], "rank", 0, kMostRanks));
    const int64_t found = executor().memory().first_not_finite(tier(info[0]), rank, number(info[2], "offset"), number(info[3], "bytes"), real(info[4]));
    return Napi::Number::New(info.Env(), static_cast<double>(found));
  });
}

Napi::Value ExecutorObject::memory(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    Napi::Object allocated = Napi::Object::New(info.Env());
    const std::array<double, kTiers>& bytes = executor().program().arena_bytes;
    for (int t = 0; t < kTiers; t++) allocated.Set(tier_name(Tier(t)), bytes[t]);
    Napi::Object result = Napi::Object::New(info.Env());
    result.Set("allocatedBytes", allocated);
    result.Set("allocationsDuringRun", static_cast<double>(executor().allocations_during_runs()));
    static const char* const kMedia[] = {"memory", "disk", "cached disk"};
    result.Set("diskMedium", kMedia[static_cast<int>(executor().medium(Tier::disk))]);
    return result;
  });
}

void ExecutorObject::poison(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    Memory& memory = executor().memory();
    if (!info[0].IsUndefined()) return memory.poison(tier(info[0]));
    for (int t = 0; t < kTiers; t++) memory.poison(Tier(t));
  });
}

Napi::Value ExecutorObject::touched(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&] {
    const size_t bytes = executor().memory().touched(tier(info[0]), static_cast<int>(integer(info[1], "rank", 0, kMostRanks)));
    return Napi::Number::New(info.Env(), static_cast<double>(bytes));
  });
}

void ExecutorObject::close(const Napi::CallbackInfo&) { shut(); }

}  // namespace fpdt::addon
