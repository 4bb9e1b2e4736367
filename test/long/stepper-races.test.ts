import './whole.js'
import '../step/stepper-races.test.js'
