// Small CUDA programs for the tests of the emulator's runtime, as anybody would write them: `cases NAME` runs one and prints what it saw as JSON.
// They know nothing of the emulator but for `control`, by which the random programs begin anew.
#include <cuda_runtime.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace emulator {
std::string control(const std::string& json);
}

namespace {

__global__ void add(int* to, const int* from, int n, int value) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) to[i] = from[i] + value;
}
template <class T>
__global__ void __launch_bounds__(64) fill(T* to, int n, T value) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) to[i] = value;
}
__global__ void write_at(int* to, long long at) { to[at] = 1; }
__global__ void reverse(int* data, int n) {
  extern __shared__ int held[];
  for (int i = threadIdx.x; i < n; i += blockDim.x) held[i] = data[i];
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) data[i] = held[n - 1 - i];
}
__device__ int counter = 5;
__constant__ int table[4] = {1, 2, 3, 4};
__global__ void use_variables(int* to) {
  counter += 1;
  to[0] = counter;
  for (int i = 0; i < 4; ++i) to[1 + i] = table[i];
}

// The JSON that a case prints, a member a line of the case.
struct Out {
  std::ostringstream text;
  template <class T>
  void operator()(const char* name, const T& value) {
    text << (text.tellp() ? "," : "") << '"' << name << "\":" << value;
  }
  void operator()(const char* name, cudaError_t value) { text << (text.tellp() ? "," : "") << '"' << name << "\":\"" << cudaGetErrorName(value) << '"'; }
  void operator()(const char* name, const std::vector<int>& values) {
    text << (text.tellp() ? "," : "") << '"' << name << "\":[";
    for (size_t i = 0; i < values.size(); ++i) text << (i ? "," : "") << values[i];
    text << ']';
  }
};

template <class T>
T* device_memory(size_t count) {
  void* pointer = nullptr;
  cudaMalloc(&pointer, count * sizeof(T));
  return static_cast<T*>(pointer);
}
template <class T>
T* pinned_memory(size_t count) {
  void* pointer = nullptr;
  cudaHostAlloc(&pointer, count * sizeof(T), cudaHostAllocDefault);
  return static_cast<T*>(pointer);
}
cudaStream_t make_stream(unsigned flags = cudaStreamNonBlocking) {
  cudaStream_t stream;
  cudaStreamCreateWithFlags(&stream, flags);
  return stream;
}
cudaEvent_t make_event(unsigned flags = cudaEventDefault) {
  cudaEvent_t event;
  cudaEventCreateWithFlags(&event, flags);
  return event;
}
std::vector<int> read(const int* from, int n) {
  std::vector<int> values(n);
  cudaMemcpy(values.data(), from, n * sizeof(int), cudaMemcpyDeviceToHost);
  return values;
}
double monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e9 + now.tv_nsec;
}

constexpr int kN = 100;

// Fetch, compute, offload on three streams, with the waits that this needs: six, of which tests take out one.
void pipeline(Out& out) {
  int *in = pinned_memory<int>(2 * kN), *result = pinned_memory<int>(4 * kN), *a = device_memory<int>(kN), *b = device_memory<int>(kN);
  const cudaStream_t fetch = make_stream(), compute = make_stream(), offload = make_stream();
  const cudaEvent_t fetched = make_event(cudaEventDisableTiming), computed = make_event(cudaEventDisableTiming), offloaded = make_event(cudaEventDisableTiming),
                    overwritable = make_event(cudaEventDisableTiming);
  for (int i = 0; i < 2 * kN; ++i) in[i] = i;
  for (int chunk = 0; chunk < 2; ++chunk) {
    if (chunk) cudaStreamWaitEvent(fetch, overwritable, 0);
    cudaMemcpyAsync(a, in + chunk * kN, kN * sizeof(int), cudaMemcpyHostToDevice, fetch);
    cudaEventRecord(fetched, fetch);
    cudaStreamWaitEvent(compute, fetched, 0);
    if (chunk) cudaStreamWaitEvent(compute, offloaded, 0);
    add<<<2, 64, 0, compute>>>(b, a, kN, 1000 * (chunk + 1));
    cudaEventRecord(computed, compute);
    cudaEventRecord(overwritable, compute);
    cudaStreamWaitEvent(offload, computed, 0);
    cudaMemcpyAsync(result + chunk * kN, b, kN * sizeof(int), cudaMemcpyDeviceToHost, offload);
    cudaEventRecord(offloaded, offload);
  }
  cudaStreamSynchronize(offload);
  int wrong = 0;
  for (int chunk = 0; chunk < 2; ++chunk) {
    for (int i = 0; i < kN; ++i) wrong += result[chunk * kN + i] != chunk * kN + i + 1000 * (chunk + 1);
  }
  out("wrong", wrong);
  out("error", cudaGetLastError());
}

// What an event stands for: the record that was the last when the wait was issued.
void records(Out& out, const std::string& which) {
  int *a = device_memory<int>(kN), *b = device_memory<int>(kN);
  const cudaStream_t writer = make_stream(), reader = make_stream();
  const cudaEvent_t event = make_event(cudaEventDisableTiming);
  const auto record = [&] { cudaEventRecord(event, writer); };
  fill<<<2, 64, 0, writer>>>(a, kN, 1);
  if (which != "never") record();
  if (which == "wait between") out("wait", cudaStreamWaitEvent(reader, event, 0));
  fill<<<2, 64, 0, writer>>>(a, kN, 2);
  if (which != "never") record();
  if (which != "wait between") out("wait", cudaStreamWaitEvent(reader, event, 0));
  cudaMemcpyAsync(b, a, kN * sizeof(int), cudaMemcpyDeviceToDevice, reader);
  cudaStreamSynchronize(reader);
  cudaStreamSynchronize(writer);
  out("got", read(b, 1));
}

void limit(Out& out) {
  size_t free = 0, total = 0;
  void *first = nullptr, *second = nullptr;
  out("first", cudaMalloc(&first, 600 << 10));
  out("second", cudaMalloc(&second, 600 << 10));
  out("pointer", second == nullptr);
  out("last", cudaGetLastError());
  out("forgotten", cudaGetLastError());
  cudaMemGetInfo(&free, &total);
  out("free", free);
  out("total", total);
  out("freed", cudaFree(first));
  out("again", cudaMalloc(&second, 600 << 10));
  out("twice", cudaFree(first));
  out("aligned", reinterpret_cast<uintptr_t>(second) % 256 == 0);
}

void sticky(Out& out) {
  int* a = device_memory<int>(kN);
  const cudaStream_t stream = make_stream();
  write_at<<<1, 1, 0, stream>>>(a, kN - 1);
  out("inside", cudaStreamSynchronize(stream));
  write_at<<<1, 1, 0, stream>>>(a, kN);
  out("launch", cudaGetLastError());
  out("wait", cudaStreamSynchronize(stream));
  int* b = nullptr;
  out("malloc", cudaMalloc(reinterpret_cast<void**>(&b), 16));
  write_at<<<1, 1, 0, stream>>>(a, 0);
  out("next", cudaGetLastError());
  out("still", cudaGetLastError());
  out("other", cudaSetDevice(1));
  b = device_memory<int>(4);
  fill<<<1, 64>>>(b, 4, 7);
  out("works", cudaDeviceSynchronize());
  out("back", cudaSetDevice(0));
}

void peers(Out& out) {
  int can = -1;
  out("asked", cudaDeviceCanAccessPeer(&can, 0, 1));
  out("can", can);
  int* a = device_memory<int>(kN);
  cudaSetDevice(1);
  int* b = device_memory<int>(kN);
  const cudaStream_t own = make_stream();
  fill<<<2, 64, 0, own>>>(b, kN, 3);
  cudaStreamSynchronize(own);
  cudaSetDevice(0);
  const cudaStream_t stream = make_stream();
  out("foreign stream", [&] {
    fill<<<2, 64, 0, own>>>(a, kN, 3);
    return cudaGetLastError();
  }());
  out("copy", cudaMemcpyPeerAsync(a, 0, b, 1, kN * sizeof(int), stream));
  cudaStreamSynchronize(stream);
  out("copied", read(a, 1));
  out("wrong devices", cudaMemcpyPeerAsync(a, 1, b, 0, kN * sizeof(int), stream));
  cudaGetLastError();
  if (can) {
    out("enabled", cudaDeviceEnablePeerAccess(1, 0));
    out("twice", cudaDeviceEnablePeerAccess(1, 0));
    add<<<2, 64, 0, stream>>>(a, b, kN, 10);
    cudaStreamSynchronize(stream);
    out("added", read(a, 1));
    out("disabled", cudaDeviceDisablePeerAccess(1));
  } else {
    out("enabled", cudaDeviceEnablePeerAccess(1, 0));
  }
  cudaGetLastError();
  add<<<2, 64, 0, stream>>>(a, b, kN, 10);
  out("without", cudaStreamSynchronize(stream));
}

void copies(Out& out) {
  constexpr int kWidth = 5, kHeight = 4, kFrom = 8, kTo = 7;
  const cudaStream_t stream = make_stream();
  int *host = pinned_memory<int>(kFrom * kHeight), *back = pinned_memory<int>(kFrom * kHeight), *a = device_memory<int>(kTo * kHeight), *b = device_memory<int>(kFrom * kHeight);
  for (int i = 0; i < kFrom * kHeight; ++i) host[i] = i, back[i] = -7;
  const auto bytes = [](int n) { return n * sizeof(int); };
  cudaMemsetAsync(a, 0, bytes(kTo * kHeight), stream);
  cudaMemset2DAsync(b, bytes(kFrom), 0, bytes(kFrom), kHeight, stream);
  out("in", cudaMemcpy2DAsync(a, bytes(kTo), host, bytes(kFrom), bytes(kWidth), kHeight, cudaMemcpyHostToDevice, stream));
  out("across", cudaMemcpy2DAsync(b, bytes(kFrom), a, bytes(kTo), bytes(kWidth), kHeight, cudaMemcpyDefault, stream));
  out("back", cudaMemcpy2DAsync(back, bytes(kFrom), b, bytes(kFrom), bytes(kWidth), kHeight, cudaMemcpyDeviceToHost, stream));
  cudaStreamSynchronize(stream);
  int wrong = 0;
  for (int row = 0; row < kHeight; ++row) {
    for (int column = 0; column < kFrom; ++column) wrong += back[row * kFrom + column] != (column < kWidth ? row * kFrom + column : -7);
  }
  out("wrong", wrong);
  const std::vector<int> dense = read(a, kTo * kHeight);
  out("gap", dense[kWidth]);
  out("pitch", cudaMemcpy2DAsync(a, bytes(3), host, bytes(kFrom), bytes(kWidth), kHeight, cudaMemcpyHostToDevice, stream));
  out("direction", cudaMemcpyAsync(a, host, 8, cudaMemcpyDeviceToHost, stream));
  out("no direction", cudaMemcpyAsync(a, host, 8, static_cast<cudaMemcpyKind>(9), stream));
  out("past the end", cudaMemcpyAsync(a, host, bytes(kTo * kHeight) + 1, cudaMemcpyHostToDevice, stream));
  out("past the end of pinned", cudaMemcpyAsync(host + 1, a, bytes(kFrom * kHeight), cudaMemcpyDeviceToHost, stream));
  out("memset past the end", cudaMemsetAsync(a + 1, 0, bytes(kTo * kHeight), stream));
  out("2D past the end", cudaMemcpy2DAsync(a, bytes(kTo), host, bytes(kFrom), bytes(kTo), kHeight + 1, cudaMemcpyHostToDevice, stream));
  out("2D up to the end", cudaMemcpy2DAsync(a + 2, bytes(kTo), host, bytes(kFrom), bytes(kWidth), kHeight, cudaMemcpyHostToDevice, stream));
  out("nothing", cudaMemcpyAsync(nullptr, nullptr, 0, cudaMemcpyDefault, stream));
  out("end", cudaStreamSynchronize(stream));
}

// A source that is written again before the copy has been done.
void reuse(Out& out, bool pinned) {
  const cudaStream_t stream = make_stream();
  std::vector<int> pageable(kN);
  int *source = pinned ? pinned_memory<int>(kN) : pageable.data(), *a = device_memory<int>(kN);
  for (int i = 0; i < kN; ++i) source[i] = 1;
  cudaMemcpyAsync(a, source, kN * sizeof(int), cudaMemcpyHostToDevice, stream);
  for (int i = 0; i < kN; ++i) source[i] = 2;
  cudaStreamSynchronize(stream);
  out("got", read(a, 1));
}

void pointers(Out& out) {
  int *a = device_memory<int>(4), *pinned = pinned_memory<int>(4), own[4];
  const auto type = [](const void* pointer) {
    cudaPointerAttributes attributes;
    cudaPointerGetAttributes(&attributes, pointer);
    return static_cast<int>(attributes.type);
  };
  out("types", std::vector<int>{type(a + 3), type(pinned), type(own), type(a + 4)});
  out("fresh", *pinned);
  out("fresh on the device", read(a, 1));
  void* mapped = nullptr;
  out("mapped", cudaHostGetDevicePointer(&mapped, pinned, 0));
  out("same", mapped == pinned);
  fill<<<1, 64>>>(static_cast<int*>(mapped), 4, 9);
  cudaDeviceSynchronize();
  out("written by the device", pinned[3]);
  out("registered", cudaHostRegister(own, sizeof own, cudaHostRegisterDefault));
  out("again", cudaHostRegister(own + 1, 4, cudaHostRegisterDefault));
  fill<<<1, 64>>>(own, 4, 8);
  cudaDeviceSynchronize();
  out("own", own[3]);
  unsigned flags;
  out("flags of registered", cudaHostGetFlags(&flags, own));
  out("unregistered", cudaHostUnregister(own));
  out("unknown", cudaHostUnregister(own));
  out("no such flags", cudaHostRegister(own, sizeof own, 16));
  out("nothing there", cudaHostRegister(reinterpret_cast<void*>(4096), 16, cudaHostRegisterDefault));
  out("of a device", cudaHostRegister(a, 16, cudaHostRegisterDefault));
  out("no bytes", cudaHostRegister(own, 0, cudaHostRegisterDefault));
}

void touch() { std::printf("%d\n", *device_memory<int>(4)); }

void clock_case(Out& out) {
  const cudaStream_t one = make_stream(), two = make_stream();
  int* a = device_memory<int>(1 << 14);
  const cudaEvent_t base = make_event();
  const double before = monotonic_ns();
  cudaEventRecord(base, one);
  cudaEventSynchronize(base);
  const double after = monotonic_ns();
  // Each event's time lies between what the host saw before it issued it and after it had waited for it.
  int early = 0, late = 0, backwards = 0;
  float last = 0;
  for (int i = 0; i < 50; ++i) {
    const cudaEvent_t begin = make_event(), end = make_event();
    const cudaStream_t stream = i % 2 ? one : two;
    const double issued = monotonic_ns();
    cudaEventRecord(begin, stream);
    fill<<<256, 64, 0, stream>>>(a, 1 << 14, i);
    cudaEventRecord(end, stream);
    cudaEventSynchronize(end);
    const double done = monotonic_ns();
    float from, to;
    if (cudaEventElapsedTime(&from, base, begin) || cudaEventElapsedTime(&to, base, end)) ++backwards;
    early += from * 1e6 < (issued - after) * (1 - 1e-4) - 1e3;
    late += to * 1e6 > (done - before) * (1 + 1e-4) + 1e3;
    backwards += !(last <= from && from < to);
    last = to;
  }
  out("early", early);
  out("late", late);
  out("backwards", backwards);
  cudaSetDevice(1);
  const cudaStream_t other = make_stream();
  const cudaEvent_t far = make_event(), unrecorded = make_event(), silent = make_event(cudaEventDisableTiming);
  cudaEventRecord(far, other);
  cudaStreamSynchronize(other);
  float ms;
  out("across devices", cudaEventElapsedTime(&ms, base, far));
  out("unrecorded", cudaEventElapsedTime(&ms, far, unrecorded));
  cudaEventRecord(silent, other);
  cudaStreamSynchronize(other);
  out("without timing", cudaEventElapsedTime(&ms, far, silent));
  out("event of another device", cudaEventRecord(far, one));
}

void queries(Out& out) {
  const cudaStream_t stream = make_stream();
  const cudaEvent_t event = make_event(), other = make_event();
  int* a = device_memory<int>(kN);
  out("unrecorded", cudaEventQuery(event));
  for (int i = 0; i < 20; ++i) fill<<<2, 64, 0, stream>>>(a, kN, i);
  cudaEventRecord(event, stream);
  out("at once", cudaEventQuery(event));
  float ms;
  cudaEventRecord(other, stream);
  out("elapsed", cudaEventElapsedTime(&ms, event, other));
  int asked = 0;
  while (cudaEventQuery(event) == cudaErrorNotReady && asked < 10000) ++asked;
  out("asked", asked > 0 && asked < 10000);
  while (cudaStreamQuery(stream) == cudaErrorNotReady && asked < 10000) ++asked;
  out("at last", cudaStreamQuery(stream));
  cudaStreamWaitEvent(make_stream(), event, 0);   // counted: the event keeps its time
  fill<<<2, 64, 0, make_stream()>>>(a, kN, 0);   // a query orders nothing
}

void default_stream(Out& out, unsigned flags) {
  int *a = device_memory<int>(kN), *b = device_memory<int>(kN);
  const cudaStream_t stream = make_stream(flags);
  fill<<<2, 64, 0, stream>>>(a, kN, 1);
  add<<<2, 64>>>(b, a, kN, 1);   // after the stream's work so far, where it is a blocking one
  add<<<2, 64, 0, stream>>>(a, b, kN, 1);
  cudaDeviceSynchronize();
  out("got", read(a, 1));
}

void host_function(Out& out) {
  struct Seen {
    std::atomic<int> calls{0};
    std::atomic<int> error{0};
    int value = 0;
    int* pinned;
  } seen;
  seen.pinned = pinned_memory<int>(kN);
  int* a = device_memory<int>(kN);
  const cudaStream_t stream = make_stream();
  fill<<<2, 64, 0, stream>>>(a, kN, 6);
  cudaMemcpyAsync(seen.pinned, a, kN * sizeof(int), cudaMemcpyDeviceToHost, stream);
  cudaLaunchHostFunc(
      stream,
      [](void* data) {
        Seen& seen = *static_cast<Seen*>(data);
        seen.value = seen.pinned[kN - 1];
        seen.error = cudaDeviceSynchronize();
        seen.calls++;
      },
      &seen);
  cudaMemsetAsync(a, 0, 4, stream);
  // No call of CUDA here: it comes all the same.
  for (int i = 0; i < 5000 && !seen.calls; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  out("calls", seen.calls);
  out("value", seen.value);
  out("inside", static_cast<cudaError_t>(seen.error.load()));
}

// Each thread has a stream and hands its result on to the next by events, round after round.
void threads(Out& out) {
  constexpr int kThreads = 4, kRounds = 25;
  struct Turn {
    cudaStream_t stream;
    cudaEvent_t done;
    int* data;
    std::atomic<int> round{0};
  };
  std::vector<Turn> turns(kThreads);
  for (Turn& turn : turns) {
    turn.stream = make_stream();
    turn.done = make_event(cudaEventDisableTiming);
    turn.data = device_memory<int>(kN);
    cudaMemset(turn.data, 0, kN * sizeof(int));
  }
  cudaDeviceSynchronize();
  std::vector<std::thread> running;
  for (int t = 0; t < kThreads; ++t) {
    running.emplace_back([&, t] {
      Turn &own = turns[t], &before = turns[(t + kThreads - 1) % kThreads];
      for (int round = 1; round <= kRounds; ++round) {
        while (before.round < round - (t == 0)) std::this_thread::yield();
        cudaStreamWaitEvent(own.stream, before.done, 0);
        add<<<2, 64, 0, own.stream>>>(own.data, before.data, kN, 1);
        cudaEventRecord(own.done, own.stream);
        if (round % 7 == t) cudaStreamSynchronize(own.stream);
        own.round = round;
      }
      cudaStreamSynchronize(own.stream);
    });
  }
  for (std::thread& thread : running) thread.join();
  out("last", read(turns[kThreads - 1].data, 1));
  out("error", cudaGetLastError());
}

void module_case(Out& out) {
  int* a = device_memory<int>(8192);
  use_variables<<<1, 1>>>(a);
  use_variables<<<1, 1>>>(a);
  out("counted", read(a, 5));
  const int values[] = {7, 8};
  out("to symbol", cudaMemcpyToSymbol(table, values, sizeof values, sizeof(int), cudaMemcpyHostToDevice));
  use_variables<<<1, 1>>>(a);
  out("changed", read(a, 5));
  int now = 0;
  out("from symbol", cudaMemcpyFromSymbol(&now, counter, sizeof now, 0, cudaMemcpyDeviceToHost));
  out("counter", now);
  cudaSetDevice(1);
  int* b = device_memory<int>(8);
  use_variables<<<1, 1>>>(b);
  out("on another device", read(b, 5));
  cudaSetDevice(0);

  const int n = 20000;   // 80 kB of shared memory
  int* c = device_memory<int>(n);
  std::vector<int> counting(n);
  for (int i = 0; i < n; ++i) counting[i] = i;
  cudaMemcpy(c, counting.data(), n * sizeof(int), cudaMemcpyHostToDevice);
  reverse<<<1, 128, n * sizeof(int)>>>(c, n);
  out("too much", cudaGetLastError());
  out("beyond", cudaFuncSetAttribute(reverse, cudaFuncAttributeMaxDynamicSharedMemorySize, 200 << 10));
  out("allowed", cudaFuncSetAttribute(reverse, cudaFuncAttributeMaxDynamicSharedMemorySize, n * sizeof(int)));
  cudaGetLastError();
  reverse<<<1, 128, n * sizeof(int)>>>(c, n);
  out("launched", cudaGetLastError());
  out("reversed", read(c, 2));
  cudaFuncAttributes attributes;
  out("attributes", cudaFuncGetAttributes(&attributes, fill<float>));
  out("bound", attributes.maxThreadsPerBlock);
  fill<float><<<1, 128>>>(reinterpret_cast<float*>(a), 1, 1.f);
  out("beyond its bound", cudaGetLastError());
  fill<float><<<1, 2048>>>(reinterpret_cast<float*>(a), 1, 1.f);
  out("too many threads", cudaGetLastError());
  fill<float><<<0, 32>>>(reinterpret_cast<float*>(a), 1, 1.f);
  out("no block", cudaGetLastError());
  out("end", cudaDeviceSynchronize());
}

void hello(Out& out) {
  int count = -1, driver = -1;
  out("driver", cudaDriverGetVersion(&driver));
  out("version", driver);
  out("counted", cudaGetDeviceCount(&count));
  out("count", count);
  cudaDeviceProp properties{};
  out("asked", cudaGetDeviceProperties(&properties, 0));
  out("major", properties.major);
  out("memory", properties.totalGlobalMem);
  out("name", std::string("\"") + properties.name + "\"");
  int* a = nullptr;
  out("malloc", cudaMalloc(reinterpret_cast<void**>(&a), 400));
  fill<<<1, 64>>>(a, 4, 3);
  out("launch", cudaGetLastError());
  out("wait", cudaDeviceSynchronize());
}

void errors(Out& out) {
  for (const int code : {0, 2, 35, 600, 700, 719, 12345}) {
    const auto error = static_cast<cudaError_t>(code);
    out(std::to_string(code).c_str(), std::string("\"") + cudaGetErrorName(error) + ": " + cudaGetErrorString(error) + "\"");
  }
}

// What the emulator has not.
void refused(Out& out) {
  void* memory = nullptr;
  out("managed", cudaMallocManaged(&memory, 16));
  const cudaStream_t stream = make_stream();
  out("capture", cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  int count = 4, value = 1;
  void* arguments[] = {&memory, &count, &value};
  out("cooperative", cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(fill<int>), dim3(1), dim3(32), arguments, 0, stream));
}

void uninitialised(Out& out) {
  int *a = device_memory<int>(kN), *b = device_memory<int>(kN);
  const cudaStream_t stream = make_stream();
  cudaMemsetAsync(a, 0, (kN - 1) * sizeof(int), stream);
  add<<<2, 64, 0, stream>>>(b, a, kN - 1, 1);
  out("written", cudaStreamSynchronize(stream));
  add<<<2, 64, 0, stream>>>(b, b, kN - 1, 1);
  out("written by a kernel", cudaStreamSynchronize(stream));
  add<<<2, 64, 0, stream>>>(b, a, kN, 1);
  out("not written", cudaStreamSynchronize(stream));
}

// What planted faults do to a round trip: memset, fetch, add, offload.
void round_trip(Out& out) {
  int *in = pinned_memory<int>(kN), *back = pinned_memory<int>(kN), *a = nullptr, *b = nullptr;
  out("malloc a", cudaMalloc(reinterpret_cast<void**>(&a), kN * sizeof(int)));
  out("malloc b", cudaMalloc(reinterpret_cast<void**>(&b), kN * sizeof(int)));
  cudaGetLastError();
  const cudaStream_t stream = make_stream();
  for (int i = 0; i < kN; ++i) in[i] = i, back[i] = -1;
  cudaMemsetAsync(b, 0, kN * sizeof(int), stream);
  cudaMemcpyAsync(a, in, kN * sizeof(int), cudaMemcpyHostToDevice, stream);
  constexpr int kAdded = 75;   // the others stay 0
  add<<<2, 64, 0, stream>>>(b, a, kAdded, 5);
  out("launch", cudaGetLastError());
  cudaMemcpyAsync(back, b, kN * sizeof(int), cudaMemcpyDeviceToHost, stream);
  out("wait", cudaStreamSynchronize(stream));
  int right = 0;
  for (int i = 0; i < kN; ++i) right += back[i] == (i < kAdded ? i + 5 : 0);
  out("right", right);
  out("second", back[1]);
}

void freed(Out& out) {
  int* a = device_memory<int>(kN);
  const cudaStream_t stream = make_stream();
  fill<<<2, 64, 0, stream>>>(a, kN, 1);
  out("freed", cudaFree(a));   // waits
  out("before", cudaStreamSynchronize(stream));
  int* b = device_memory<int>(kN);
  out("another address", a != b);
  fill<<<2, 64, 0, stream>>>(a, kN, 1);
  out("after", cudaStreamSynchronize(stream));
}

// Random programs, one a line: `control JSON`, or words like "fill s b at n", "copy s from at to at n", "record s e", "wait s e", "sync s"; each answers with a
// line. A buffer holds kElements numbers; a fill writes the number of the command into n of them, a copy moves n.
void interpret() {
  constexpr int kStreams = 4, kEvents = 3, kBuffers = 2, kElements = 6;
  cudaStream_t streams[kStreams];
  cudaEvent_t events[kEvents];
  int* buffers[kBuffers];
  for (auto& stream : streams) stream = make_stream();
  std::string text;
  while (std::getline(std::cin, text)) {
    if (text.rfind("control ", 0) == 0) {
      std::cout << emulator::control(text.substr(8)) << std::endl;
      continue;
    }
    for (auto& event : events) event = make_event(cudaEventDisableTiming);
    for (auto& buffer : buffers) {
      buffer = device_memory<int>(kElements);
      cudaMemset(buffer, 0, kElements * sizeof(int));
    }
    cudaDeviceSynchronize();
    std::istringstream words(text);
    std::string word;
    for (int number = 1; words >> word; ++number) {
      const auto next = [&] {
        int value = 0;
        words >> value;
        return value;
      };
      const cudaStream_t stream = streams[next()];
      if (word == "sync") cudaStreamSynchronize(stream);
      if (word == "record") cudaEventRecord(events[next()], stream);
      if (word == "wait") cudaStreamWaitEvent(stream, events[next()], 0);
      if (word == "fill") {
        int* const to = buffers[next()] + next();
        fill<<<1, 8, 0, stream>>>(to, next(), number);
      }
      if (word == "copy") {
        const int* const from = buffers[next()] + next();
        int* const to = buffers[next()] + next();
        cudaMemcpyAsync(to, from, next() * sizeof(int), cudaMemcpyDeviceToDevice, stream);
      }
    }
    cudaDeviceSynchronize();
    for (int* buffer : buffers) {
      for (const int value : read(buffer, kElements)) std::cout << value << ' ';
    }
    std::cout << std::endl;
    for (auto& event : events) cudaEventDestroy(event);
    for (int* buffer : buffers) cudaFree(buffer);
  }
}

}  // namespace

int main(int count, char** arguments) {
  const std::string name = count > 1 ? arguments[1] : "";
  if (name == "interpret") return interpret(), 0;
  if (name == "touch") return touch(), 0;
  const std::map<std::string, std::function<void(Out&)>> cases = {
      {"pipeline", pipeline}, {"wait between", [](Out& out) { records(out, "wait between"); }}, {"wait after", [](Out& out) { records(out, "wait after"); }},
      {"never", [](Out& out) { records(out, "never"); }}, {"limit", limit}, {"sticky", sticky}, {"peers", peers}, {"copies", copies},
      {"pinned reuse", [](Out& out) { reuse(out, true); }}, {"pageable reuse", [](Out& out) { reuse(out, false); }}, {"pointers", pointers}, {"clock", clock_case},
      {"queries", queries}, {"blocking", [](Out& out) { default_stream(out, cudaStreamDefault); }}, {"non-blocking", [](Out& out) { default_stream(out, cudaStreamNonBlocking); }},
      {"host function", host_function},
      {"threads", threads}, {"module", module_case}, {"hello", hello}, {"errors", errors}, {"refused", refused}, {"uninitialised", uninitialised}, {"round trip", round_trip}, {"freed", freed}};
  const auto found = cases.find(name);
  if (found == cases.end()) return std::fprintf(stderr, "no case %s\n", name.c_str()), 2;
  Out out;
  found->second(out);
  std::printf("{%s}\n", out.text.str().c_str());
  return 0;
}
