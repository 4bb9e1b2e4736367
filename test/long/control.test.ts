import './whole.js'
import '../step/control.test.js'
