// Arguments of JavaScript as C++ values, and C++ errors as JavaScript errors. Every check throws fpdt::Error; `guarded` is
// the one frame that turns it into an Error with `code`.
#pragma once
#include <napi.h>

#include <array>
#include <cmath>
#include <span>
#include <string>

#include "../core/error.h"
#include "../core/finite.h"
#include "../core/program.h"

namespace fpdt::addon {

inline Napi::Error js_error(Napi::Env env, const std::string& code, const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

template <class F>
auto guarded(Napi::Env env, F&& f) {
  try {
    return f();
  } catch (const Error& error) {
    throw js_error(env, error.code(), error.what());
  } catch (const Napi::Error&) {
    throw;  // thrown by JavaScript itself, a getter say
  } catch (const std::bad_alloc&) {
    throw js_error(env, "out_of_memory", "the process has no memory left");
  } catch (const std::exception& error) {
    throw js_error(env, "native", error.what());
  }
}

inline double number(const Napi::Value& value, const char* name) {
  if (!value.IsNumber()) throw Error("argument", std::string(name) + " must be a number");
  return value.As<Napi::Number>().DoubleValue();
}

inline int64_t integer(const Napi::Value& value, const char* name, int64_t least, int64_t most) {
  const double n = number(value, name);
  if (!(n >= static_cast<double>(least) && n <= static_cast<double>(most)) || n != std::floor(n)) {
    std::ostringstream text;
    text << name << " is " << n << "; it must be a whole number from " << least << " to " << most;
    throw Error("argument", text.str());
  }
  return static_cast<int64_t>(n);
}

inline Napi::Object object(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) throw Error("argument", std::string(name) + " must be an object");
  return value.As<Napi::Object>();
}

inline Tier tier(const Napi::Value& value) {
  const std::string name = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  if (name == "device") return Tier::device;
  if (name == "host") return Tier::host;
  if (name == "disk") return Tier::disk;
  throw Error("argument", "tier must be 'device', 'host' or 'disk'");
}

inline Real real(const Napi::Value& value) {
  const std::string name = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  if (name == "bf16") return Real::bf16;
  if (name == "f32") return Real::f32;
  if (name == "f64") return Real::f64;
  throw Error("argument", "dtype must be 'bf16', 'f32' or 'f64'");
}

// The bytes behind a typed array or DataView; they belong to JavaScript and live as long as this call.
inline std::span<std::byte> bytes(const Napi::Value& value, const char* name) {
  if (value.IsTypedArray()) {
    const auto array = value.As<Napi::TypedArray>();
    return {static_cast<std::byte*>(array.ArrayBuffer().Data()) + array.ByteOffset(), array.ByteLength()};
  }
  if (value.IsDataView()) {
    const auto view = value.As<Napi::DataView>();
    return {static_cast<std::byte*>(view.Data()), view.ByteLength()};
  }
  throw Error("argument", std::string(name) + " must be a typed array");
}

template <class T> inline constexpr napi_typedarray_type kArrayType = napi_int8_array;
template <> inline constexpr napi_typedarray_type kArrayType<uint8_t> = napi_uint8_array;
template <> inline constexpr napi_typedarray_type kArrayType<uint16_t> = napi_uint16_array;
template <> inline constexpr napi_typedarray_type kArrayType<uint32_t> = napi_uint32_array;
template <> inline constexpr napi_typedarray_type kArrayType<double> = napi_float64_array;

// The items of a typed array of exactly this type.
template <class T>
std::span<const T> items(const Napi::Value& value, const char* name) {
  static const char* const kNames[] = {"Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array", "Uint16Array", "Int32Array", "Uint32Array", "Float32Array", "Float64Array"};
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != kArrayType<T>) {
    throw Error("argument", std::string(name) + " must be a " + kNames[kArrayType<T>]);
  }
  const std::span<std::byte> raw = bytes(value, name);
  return {reinterpret_cast<const T*>(raw.data()), raw.size() / sizeof(T)};
}

}  // namespace fpdt::addon
