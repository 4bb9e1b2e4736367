import './whole.js'
import '../step/exactness.test.js'
