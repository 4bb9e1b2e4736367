import './whole.js'
import '../step/cancel.test.js'
